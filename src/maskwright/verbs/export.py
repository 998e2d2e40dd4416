"""The verb `export`: a run as one ONNX file, with a certificate of what it does on the validation images.

FILE.onnx   the model, as `inference.exporting` makes it
FILE.json   the certificate: `ExportResult.to_dict`
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskwright.base.extras import require_export
from maskwright.base.progress import progress, say
from maskwright.base.storage import atomic_write_bytes, atomic_write_json, next_free, require_absent
from maskwright.base.texts import plural
from maskwright.core.bands import Stored
from maskwright.core.dataset import Dataset
from maskwright.core.masks import Mask
from maskwright.core.predictor import Pixels, with_postprocessing
from maskwright.core.sample import Sample
from maskwright.core.tiles import drawn
from maskwright.data.opening import load_dataset_of
from maskwright.errors import ConfigError, DataError, argument
from maskwright.evaluation.parity import Parity, parities
from maskwright.evaluation.scoring.predicted import opened, samples_of
from maskwright.inference.exporting.exported import SUFFIX, ExportedModel
from maskwright.inference.exporting.metadata import Metadata
from maskwright.inference.exporting.session import open_session
from maskwright.inference.exporting.speed import rates
from maskwright.run import Run

if TYPE_CHECKING:
    import onnx

    from maskwright.modeling.models.segmenter import Segmenter

# Training images that scales of int8 are measured on, and others that the ways to do so are compared on.
CALIBRATION, COMPARED = 64, 32
# With a loss of less than this share of what is allowed, an int8 model is taken also where it is surely no chance.
_NOTHING = 0.2
# Fewer layers in float32 are as good as more if no larger share of labels differs.
_AS_GOOD = 0.001
_TIMED = 4


@dataclass(frozen=True)
class Calibration:
    """How an int8 model was made: scales by `method`, on so many training `images`, and the first `kept` layers in
    float32. `agreement` says of what was tried ("minmax 4": method and layers) for which share of the pixels of
    `compared` other training images the label is that of float32."""

    method: str
    kept: int
    images: int
    compared: int
    agreement: Mapping[str, float]


@dataclass(frozen=True, repr=False)
class ExportResult:
    """What `export` wrote: `file`, and `certificate`, which holds this as JSON. `hash` is the file's (BLAKE2b).

    `any_size`: whether the graph takes images of other sizes than the model's, `image_size` (height, width), which with
    `windows` is that of the windows that the model sees of an image. `float32` and `int8` (None where it was not asked
    for) say how the exported model differs from the run on its validation images. `rates` are images, or windows, of
    the model's size per second, of `torch` (eager, float32), `onnx` and `int8`, measured in turns with `threads`
    threads.
    """

    file: Path
    certificate: Path
    hash: str
    bytes: int
    opset: int
    any_size: bool
    image_size: tuple[int, int]
    windows: bool
    float32: Parity
    int8: Parity | None
    calibration: Calibration | None
    rates: Mapping[str, float]
    threads: int
    versions: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `speed` are the rates over torch's."""
        return asdict(self) | {
            "float32": self.float32.to_dict(),
            "int8": self.int8.to_dict() if self.int8 else None,
            "speed": {name: rate / self.rates["torch"] for name, rate in self.rates.items()},
        }

    def human(self) -> str:
        """For a terminal."""
        height, width = self.image_size
        size = "any size" if self.any_size else f"{width}x{height} pixels only"
        seen = f"windows of {width}x{height} pixels of images of any size" if self.windows else f"images of {size}"
        lines = [
            f"{self.file}: {self.bytes / 1e6:.1f} MB, opset {self.opset}, {seen}",
            f"float32 and the run, {plural(self.float32.images, 'validation image')}: {self.float32}",
        ]
        if self.int8 and self.calibration:
            lines.append(
                f"int8 and the run ({self.calibration.method}, {plural(self.calibration.images, 'training image')}, "
                f"{plural(self.calibration.kept, 'layer')} in float32 first): {self.int8}"
            )
        others = ", ".join(
            f"{name} {rate:.1f} ({rate / self.rates['torch']:.2f} times)"
            for name, rate in self.rates.items()
            if name != "torch"
        )
        threads = plural(self.threads, "thread")
        lines.append(
            f"{'windows' if self.windows else 'images'}/s with {threads}: torch {self.rates['torch']:.1f}, {others}"
        )
        if self.rates.get("int8", math.inf) <= self.rates["onnx"]:
            lines.append("int8 is no faster than float32 on this processor; without it no label changes")
        return "\n".join([*lines, f"certificate: {self.certificate}"])

    def __str__(self) -> str:
        return self.human()

    def __repr__(self) -> str:
        return f"ExportResult({str(self.file)!r})"


def export(
    run: str | Path | Run,
    *,
    out: str | Path | None = None,
    int8: bool = False,
    data: str | Path | Dataset | None = None,
    device: str = "cpu",
    min_agreement: float = 0.999,
    max_loss: float = 0.005,
    postprocess: bool = True,
) -> ExportResult:
    """Writes the best checkpoint of a run as `out`, an ONNX file, and beside it its certificate as JSON; by default
    `RUN/exports/model-001.onnx`. `predict`, `evaluate` and `load` take that file, and need no torch then.

    Before anything is written, the exported model and the run label all validation images in float32 on the `device`:
    DataError where fewer pixels than `min_agreement` (0..1) get the same label. With `int8` the weights and most of
    the arithmetic are 8-bit integers, with scales from training images; DataError where the mIoU on the validation
    images is lower by more than `max_loss`, or by more than a fifth of it and the paired interval calls that no chance.
    `data` is where the run's dataset lies now, if it was moved. The file does with its masks what `tune` chose for the
    run, unless `postprocess` leaves it out; the certificate is about the model without it.

    Raises ConfigError for a network that cannot be exported and a file that exists, DataError where the dataset or its
    validation images are missing, SetupError without the extra `export`.
    """
    require_export("export")
    import onnxruntime
    import torch

    from maskwright.inference.exporting.graph import OPSET, to_onnx
    from maskwright.inference.loading import model_file
    from maskwright.modeling.models.segmenter import load_segmenter

    run = run if isinstance(run, Run) else Run.open(run)
    file, certificate = _files(run, out)
    segmenter = replace(load_segmenter(model_file(run)), precision="float32")
    postprocessing = run.postprocessing if postprocess else None
    with_postprocessing(segmenter, postprocessing, str(run.postprocessing_file))  # or the file could not be opened
    info = run.info()
    dataset = opened(data) if data is not None else load_dataset_of(run.path, run.config().data.root)
    if dataset.classes.ids != segmenter.classes.ids:
        raise DataError(
            f"{dataset.root}: its class ids {dataset.classes.ids} are not those of the run {segmenter.classes.ids}; "
            f"give the dataset that the run was trained on ({argument('data')})"
        )
    samples = samples_of(dataset, "val", info["splits"])
    say(f"exported model: {file}")
    metadata = replace(_metadata(run, segmenter, info), postprocessing=postprocessing or None)
    proto = to_onnx(segmenter, metadata)
    # The same number for both, or their speeds would not be those of the models.
    threads = torch.get_num_threads()
    models = {"onnx": _opened(file, proto, device, threads)}
    calibration, chosen = None, proto
    if int8:
        training = samples_of(dataset, "train", info["splits"])
        chosen, calibration = _quantised(proto, models["onnx"], file, dataset, training)
        models["int8"] = _opened(file, chosen, device, threads)
    reference = segmenter
    if device != "cpu":
        reference = replace(load_segmenter(model_file(run), device), precision="float32")
    found = parities(reference, [*models.values()], _pairs(dataset, samples))
    _require_parity(file, found[0], min_agreement)
    if int8:
        _require_quality(file, found[1], max_loss)
    content = chosen.SerializeToString()
    result = ExportResult(
        file,
        certificate,
        blake2b(content, digest_size=16).hexdigest(),
        len(content),
        OPSET,
        models["onnx"].metadata.any_size,
        segmenter.preprocessing.geometry.size,
        segmenter.preprocessing.geometry.crop is not None,
        found[0],
        found[1] if int8 else None,
        calibration,
        _rates(reference, models, dataset, samples),
        threads,
        {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__},
    )
    atomic_write_bytes(file, content)
    atomic_write_json(certificate, result.to_dict())
    say(f"exported model: {file}")
    return result


def _files(run: Run, out: str | Path | None) -> tuple[Path, Path]:
    """The model and its certificate, neither of which is there yet."""
    file = Path(out) if out is not None else next_free(run.exports, "model", SUFFIX)
    if file.suffix != SUFFIX:
        raise ConfigError(
            f"{argument('out')} {file}: an exported model is an ONNX file; let its name end with {SUFFIX}"
        )
    return require_absent(file), require_absent(file.with_suffix(".json"))


def _metadata(run: Run, segmenter: Segmenter, info: Mapping[str, Any]) -> Metadata:
    weights = info.get("encoder_weights")
    return Metadata(
        segmenter.classes,
        segmenter.preprocessing,
        segmenter.spec.to_dict(),
        segmenter.flip_average,
        segmenter.selector,
        run=run.path.resolve().name,
        dataset_version=info["dataset"]["version"],
        weights={key: weights.get(key) for key in ("source", "licence")} if weights else None,
    )


def _opened(file: Path, proto: onnx.ModelProto, device: str, threads: int | None = None) -> ExportedModel:
    """The model alone, without its post-processing."""
    model = ExportedModel.of(file, open_session(proto.SerializeToString(), device, threads))
    return replace(model, postprocessing=None)


def _quantised(
    proto: onnx.ModelProto, model: ExportedModel, file: Path, dataset: Dataset, samples: Sequence[Sample]
) -> tuple[onnx.ModelProto, Calibration]:
    """The int8 model whose labels are most often those of the float32 `model`, on training images that its scales do
    not come from where there are enough of them."""
    from maskwright.inference.exporting.graph import with_metadata
    from maskwright.inference.exporting.quantise import METHODS, kept_of, quantising

    images = _spread(dataset, samples, CALIBRATION + COMPARED, model)
    compared = images[2::3] if len(images) >= 3 else images
    calibrating = [image for number, image in enumerate(images) if number % 3 != 2] or images
    expected = [_labels(model, image) for image in compared]
    agreement: dict[tuple[str, int], float] = {}
    made: dict[tuple[str, int], onnx.ModelProto] = {}
    some = kept_of(proto)
    ways = len(some) + len(METHODS) - 1
    with quantising(proto, calibrating) as quantise, progress("quantising", ways, "ways") as advance:

        def look(method: str, kept: int) -> None:
            way = method, kept
            made[way] = with_metadata(quantise(*way), replace(model.metadata, precision="int8"))
            other = _opened(file, made[way], "cpu")
            same = [np.mean(_labels(other, image) == labels) for image, labels in zip(compared, expected, strict=True)]
            agreement[way] = float(np.mean(same))
            advance(len(made), f"{method}, {plural(kept, 'layer')} in float32: {agreement[way]:.2%}")

        simple, *others = METHODS
        for kept in some:
            look(simple, kept)
        good = max(agreement.values()) - _AS_GOOD
        kept = min(kept for (_, kept), same in agreement.items() if same >= good)  # what is int8 is faster
        for method in others:
            look(method, kept)
    method = max(METHODS, key=lambda method: agreement[method, kept])
    tried = {f"{name} {number}": same for (name, number), same in agreement.items()}
    return made[method, kept], Calibration(method, kept, len(calibrating), len(compared), tried)


def _spread(dataset: Dataset, samples: Sequence[Sample], most: int, model: ExportedModel) -> list[Stored]:
    """At most so many images at the model's size, evenly over the samples; of one that sees windows, windows of them
    drawn by chance, from an image more than one where there are fewer images."""
    geometry = model.preprocessing.geometry
    places = np.linspace(0, len(samples) - 1, min(most, len(samples))).astype(int).tolist()
    images = (geometry.image(dataset.read_bands(samples[place])) for place in places)
    if not geometry.crop:
        return [*images]
    count = math.ceil(most / len(places))
    windows = (drawn(image, geometry, count, np.random.default_rng(place)) for place, image in enumerate(images))
    return [window for some in windows for window in some][:most]


def _labels(model: ExportedModel, image: Stored) -> Pixels:
    return np.asarray(model.probabilities(image[None])[0].argmax(0), np.uint8)


def _pairs(dataset: Dataset, samples: Sequence[Sample]) -> Iterator[tuple[Stored, Mask]]:
    with progress("comparing", len(samples)) as advance:
        for done, sample in enumerate(samples, 1):
            yield dataset.read_stored(sample)
            advance(done)


def _require_parity(file: Path, parity: Parity, least: float) -> None:
    if parity.agreement < least:
        raise DataError(
            f"{file}: not written: on {plural(parity.images, 'validation image')} only {parity}; {least:.4%} must "
            f"agree; export another model, or ask for less ({argument('min_agreement')})"
        )


def _require_quality(file: Path, parity: Parity, most: float) -> None:
    loss = -parity.difference.value
    if loss > most or (loss > _NOTHING * most and parity.difference.high < 0):
        raise DataError(
            f"{file}: not written: the int8 model is worse beyond chance on "
            f"{plural(parity.images, 'validation image')}: {parity}; leave {argument('int8')} out, or allow more "
            f"({argument('max_loss')}, now {most:g}, of which {_NOTHING:.0%} may surely be lost)"
        )


def _rates(
    reference: Segmenter, models: Mapping[str, ExportedModel], dataset: Dataset, samples: Sequence[Sample]
) -> dict[str, float]:
    """Images per second, of images of which several have to be there."""
    import torch

    images = _spread(dataset, samples, _TIMED, models["onnx"])
    batch = np.stack((images * _TIMED)[:_TIMED])
    tensor = torch.from_numpy(batch).permute(0, 3, 1, 2)
    ways: dict[str, Callable[[], object]] = {"torch": lambda: reference.probabilities(tensor).cpu()}
    ways |= {name: partial(model.probabilities, batch) for name, model in models.items()}
    return rates(ways, _TIMED)
