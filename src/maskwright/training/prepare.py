"""What a training is made of, built from its config: samples, model, loss and batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from maskwright.base.progress import progress, say
from maskwright.base.texts import counted
from maskwright.config import AugmentTerm, RunConfig, load_config, with_pipelines
from maskwright.core.bands import Bands, channel_sums, mean_std
from maskwright.core.class_facts import ClassFacts, ClassSurvey
from maskwright.core.class_weights import Repeats, repeat_factors
from maskwright.core.dataset import Dataset
from maskwright.core.geometry import Crop, Geometry
from maskwright.core.left_out import LeftOut
from maskwright.core.sample import Sample
from maskwright.errors import ConfigError, DataError
from maskwright.modeling import augment
from maskwright.modeling.losses.build import build_loss
from maskwright.modeling.models import takes_encoder
from maskwright.modeling.models.build import ModelSpec
from maskwright.modeling.models.segmenter import Preprocessing, Segmenter, with_selector
from maskwright.modeling.models.weights import Found, encoder_info
from maskwright.modeling.optim.build import Groups, PartRates
from maskwright.training.crops import Crops, Seen, seen
from maskwright.training.distributed.processes import ALONE, Processes
from maskwright.training.from_run import OfRun, Start, started
from maskwright.training.guest import seed_torch
from maskwright.training.image_cache import Decoded
from maskwright.training.loader import Batches, DecodedSamples, Factors
from maskwright.training.trust import Trust


def settle(
    config: RunConfig | str | Path, overrides: Sequence[str] = (), augmentation: augment.Compose | None = None
) -> tuple[RunConfig, Path]:
    """The config that the arguments of `train` mean, which depends on no further file, and the folder it is from."""
    if isinstance(config, RunConfig):
        if overrides:
            raise ConfigError("overrides go with the path of a config; change the RunConfig itself instead")
        folder = Path.cwd()
    else:
        folder = Path(config).parent
        config = load_config(config, overrides)
    if augmentation is not None:
        entry = {"name": augment.PASS_THROUGH, "pipeline": augment.passthrough.describe(augmentation)}
        config = config.model_copy(update={"augment": [AugmentTerm.model_validate(entry)]})
    return with_pipelines(config), folder


def training_splits(dataset: Dataset, holdout: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Training and validation samples: the splits `train` and `val`, else a seeded share of `train` (or of
    the samples without a split). Only samples with a mask count. Raises DataError when one is empty."""
    splits = {name: [s for s in samples if s.labelled] for name, samples in dataset.splits.items()}
    train = splits.get("train") or splits.get("", [])
    validation = splits.get("val", [])
    if not validation and len(train) > 1:
        order = np.random.default_rng((seed, 2)).permutation(len(train))
        chosen = set(order[: max(1, round(holdout * len(train)))].tolist())
        validation = [sample for i, sample in enumerate(train) if i in chosen]
        train = [sample for i, sample in enumerate(train) if i not in chosen]
    if not train or not validation:
        raise DataError(
            f"{dataset.root}: {len(train)} training and {len(validation)} validation samples with a mask; "
            "at least one of each is needed"
        )
    return train, validation


def named_splits(
    dataset: Dataset, train: Sequence[str], validation: Sequence[str]
) -> tuple[list[Sample], list[Sample]]:
    """The samples of these names. DataError when one is not there, has no mask, or is in both; when there are none."""
    known = {sample.name: sample for sample in dataset.samples if sample.labelled}
    if strange := [name for name in (*train, *validation) if name not in known]:
        raise DataError(f"{dataset.root}: has no labelled sample {strange[0]!r}; give names of its samples")
    if both := {*train} & {*validation}:
        raise DataError(f"{dataset.root}: {min(both)!r} is both to train on and to validate with; choose one")
    if not train or not validation:
        raise DataError(
            f"{dataset.root}: {len(train)} training and {len(validation)} validation samples; at least one "
            "of each is needed"
        )
    return [known[name] for name in train], [known[name] for name in validation]


@dataclass
class Prepared:
    """Everything that `fit` needs, built from a config; what the training masks hold of each class, and the pixels
    (K,) of each in the validation masks, at the model's size; what the model has of the run that it starts from; and
    what drawing windows changes, where there are any, and drawing images more often."""

    dataset: Dataset
    segmenter: Segmenter
    criterion: nn.Module
    batches: Batches
    validation: DecodedSamples
    processes: Processes
    training_classes: list[ClassFacts]
    validation_pixels: list[int]
    start: Start | None
    seen: Seen | None = None
    repeats: Repeats | None = None


def prepare(
    config: RunConfig,
    dataset: Dataset,
    splits: tuple[list[Sample], list[Sample]],
    weights: Found | OfRun | None,
    device: str,
    processes: Processes,
    decoded: Decoded | None = None,
) -> Prepared:
    """Builds all of it and reads every sample once, from `decoded` where it is there. Raises DataError for files that
    cannot be used, ConfigError for settings that do not fit together."""
    model = config.model
    spec = ModelSpec(model.name, len(dataset.classes), model.encoder, model.args, dataset.bands.channels)
    seed_torch(config.seed, torch.device(device))
    built, start = started(spec, weights, dataset.classes)
    if start:
        say(str(start))
    network = built.to(device).to(memory_format=torch.channels_last)
    if config.data.mean and config.data.std:
        mean, std = config.data.mean, config.data.std
    elif not dataset.bands.plain:
        means, deviations = measured(dataset, splits[0])
        mean, std = config.data.mean or means, config.data.std or deviations
    elif takes_encoder(model.name):
        info = encoder_info(model.encoder or "")
        mean, std = config.data.mean or list(info.mean), config.data.std or list(info.std)
    else:
        mean, std = config.data.mean or [0.5] * 3, config.data.std or [0.25] * 3
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != dataset.bands.channels:
            raise ConfigError(
                f"data.{name}: has {counted(len(values), 'value{|s}')}, and the images of {dataset.root} have "
                f"{counted(dataset.bands.channels, 'band{|s}')}; give one for each, or leave it out"
            )
    geometry = geometry_of(config)
    preprocessing = Preprocessing(geometry, tuple(mean), tuple(std), dataset.exif, dataset.bands)
    segmenter = with_selector(
        Segmenter(network, spec, dataset.classes, preprocessing, flip_average=config.flip_average), config.selector
    )
    train, validation = (
        DecodedSamples(dataset, samples, geometry, processes.local_size, decoded) for samples in splits
    )
    batches = batches_of(config, train, processes)
    with progress("reading", len(train) + len(validation)) as advance:
        survey, left_out = ClassSurvey(len(dataset.classes)), LeftOut()
        counts = train.fill(lambda done, _: advance(done), survey.add, left_out)
        judged = validation.fill(lambda done, _: advance(len(train) + done), tell=left_out)
    if processes.first and dataset.bands.plain and (said := left_out.sentence()):
        say(f"warning: {said}")
    counts = counts[:, : len(dataset.classes)]
    if not counts.any():
        raise DataError(f"{dataset.root}: no training pixel has a class (all are ignored); check the masks")
    judged_pixels = judged[:, : len(dataset.classes)].sum(0).tolist()
    if not any(judged_pixels):
        raise DataError(
            f"{dataset.root}: no validation pixel has a class (all are ignored), so nothing could choose the "
            "checkpoint; check the masks, or make other splits (`maskwright split`)"
        )
    if batches.trust:
        batches.trust.require_pixels(lambda index: train[index][1])
    batches.crops = crops_of(config, train, counts)
    repeats = None
    if config.data.repeat_rare:
        factors = repeat_factors(counts, config.data.repeat_rare)
        repeats = Repeats.of(counts, factors)
        batches.factors = Factors(factors[batches.crops.owners] if batches.crops else factors)
    criterion = build_loss([term.model_dump() for term in config.loss], counts, dataset.classes).to(device)
    changed = seen(batches.crops, lambda index: train[index][1]) if batches.crops else None
    return Prepared(
        dataset,
        segmenter,
        criterion,
        batches,
        validation,
        processes,
        survey.facts(),
        judged_pixels,
        start,
        changed,
        repeats,
    )


def measured(dataset: Dataset, samples: Sequence[Sample]) -> tuple[list[float], list[float]]:
    """The mean and std of each band over all pixels of these images, 0..1 of the range, at their own size; an std of 1
    for a band that shows nothing. Raises DataError for a file that cannot be read."""
    sums, pixels = [[0] * dataset.bands.channels] * 2, 0
    with progress("measuring bands", len(samples)) as advance:
        for done, sample in enumerate(samples, 1):
            image = dataset.read_bands(sample)
            sums = [
                [a + b for a, b in zip(*rows, strict=True)]
                for rows in zip(sums, channel_sums(image).tolist(), strict=True)
            ]
            pixels += image.shape[0] * image.shape[1]
            advance(done)
    means, deviations = mean_std(sums[0], sums[1], pixels, dataset.bands.range)
    return [round(value, 6) for value in means], [round(value, 6) or 1.0 for value in deviations]


def with_statistics(config: RunConfig, weights: Found | OfRun | None, bands: Bands) -> RunConfig:
    """The config with the mean and std of its weights, where it names none itself and `bands` are plain or the weights
    a run's, and with the hash of these."""
    if weights is None or (isinstance(weights, Found) and not bands.plain):
        return config
    if isinstance(weights, OfRun):
        model = config.model.model_copy(update={"weights_sha256": weights.sha256})
        config = config.model_copy(update={"model": model})
        if len(weights.mean) != bands.channels:  # those of the images are measured
            return config
    named = {"mean": config.data.mean or list(weights.mean), "std": config.data.std or list(weights.std)}
    return config.model_copy(update={"data": config.data.model_copy(update=named)})


def geometry_of(config: RunConfig) -> Geometry:
    """How images come to the model's size."""
    data = config.data
    crop = Crop(data.crop.scale, data.crop.overlap) if data.crop else None
    return Geometry((data.image_size[0], data.image_size[1]), data.keep_ratio, data.resample, crop)


def crops_of(config: RunConfig, source: DecodedSamples, counts: npt.NDArray[np.int64]) -> Crops | None:
    """The windows of a training on `source`, which has been read and has so many pixels (M, K) of each class; None for
    whole images."""
    if config.data.crop is None:
        return None
    return Crops(source.geometry.size, config.data.crop.rare, config.seed, np.array(source.sizes), counts)


def batches_of(config: RunConfig, source: DecodedSamples, processes: Processes = ALONE) -> Batches:
    """The batches of a training on `source`, augmented; this process's share of each. DataError for maps of trust that
    cannot be used."""
    augmentation = augment.build([term.model_dump() for term in config.augment], config.border, source.dataset.bands)
    trust = (
        Trust(
            Path(given.folder),
            source.dataset,
            source.samples,
            source.geometry,
            seed=config.seed,
            least=given.least,
            room=source.room // 4,  # a map has one number where image and mask have four
        )
        if (given := config.data.trust)
        else None
    )
    return Batches(
        source,
        augmentation,
        config.train.batch_size,
        config.seed,
        rank=processes.rank,
        world_size=processes.size,
        trust=trust,
    )


def groups_of(config: RunConfig) -> Groups:
    """How the optimiser treats the parts of the model."""
    optimizer = config.optimizer
    parts = {name: PartRates(**group.model_dump()) for name, group in optimizer.groups.items()}
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in optimizer.arguments.items()}
    return Groups(optimizer.lr, optimizer.head_lr_mult, optimizer.weight_decay, optimizer.name, arguments, parts)
