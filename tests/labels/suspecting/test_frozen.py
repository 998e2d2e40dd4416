"""Out-of-fold models over one frozen encoder: what is kept of its features, who is held out, and how stopped work goes
on."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from helpers import fingerprint
from maskwright.base.storage import read_json
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, Interrupted
from maskwright.labels.suspecting import folds, frozen
from maskwright.labels.suspecting.folds import predict_out_of_fold, shares_encoder
from maskwright.labels.suspecting.frozen import FrozenFolds
from maskwright.modeling.models import OVER_ENCODER
from maskwright.modeling.models.build import build_model
from maskwright.modeling.models.segmenter import with_model
from tiny import config, write_dataset

ENCODER = "tu-mobilenetv3_small_050"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A dataset, and the file of an encoder's weights."""
    root = tmp_path_factory.mktemp("frozen")
    torch.manual_seed(3)
    save_file(timm.create_model(ENCODER[3:], pretrained=False).state_dict(), root / "encoder.safetensors")
    return write_dataset(root / "data", {"train": 7, "test": 4}, ids=(0, 1, 2), size=(40, 48))


def settings(home, name="FPN", encoder=ENCODER, **changed):
    small = {"decoder_pyramid_channels": 64, "decoder_segmentation_channels": 64} if name == "FPN" else {}
    found = config(
        home,
        train={"iterations": 5, **changed.pop("train", {})},
        flip_average=True,
        augment=["HorizontalFlip", "Affine"],
        **changed,
    )
    model = {"name": name, "encoder": encoder, "weights": str(home.parent / "encoder.safetensors"), "args": small}
    return found.model_copy(update={"model": type(found.model).model_validate(model)})


def predict(home, folder, seconds=None, **changed):
    return predict_out_of_fold(load_dataset(home), settings(home, **changed), folder, folds=3, seed=0, seconds=seconds)


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """Predictions that were not disturbed."""
    return predict(world, tmp_path_factory.mktemp("whole"))


def stored(folder):
    return fingerprint(folder / "probabilities")


def test_what_is_predicted_is_what_the_whole_model_says(world, tmp_path):
    dataset = load_dataset(world)
    samples = list(dataset.samples)
    own = FrozenFolds(dataset, samples, settings(world), tmp_path)
    model = own.train([sample.name for sample in samples[:6]], 0, 5)
    segmenter = own._prepared.segmenter
    complete = build_model(segmenter.spec)
    complete.load_state_dict(model.state_dict(), strict=False)
    complete.encoder = segmenter.model.encoder
    direct = with_model(segmenter, complete.eval())
    names = [sample.name for sample in samples[6:]]
    for sample, (probabilities, mask) in zip(samples[6:], own.predict(model, names), strict=True):
        image, truth = own._prepared.batches.source[samples.index(sample)]
        expected = direct.probabilities(torch.from_numpy(image[None].copy()).permute(0, 3, 1, 2))[0].numpy()
        assert np.abs(probabilities - expected).max() < 5e-3  # of half precision
        assert (mask == truth).all() and probabilities.shape == (3, 32, 32)


def test_the_encoder_stays_as_it_is_and_decoders_differ(world, tmp_path):
    dataset = load_dataset(world)
    own = FrozenFolds(dataset, list(dataset.samples), settings(world), tmp_path)
    before = {key: value.clone() for key, value in own._prepared.segmenter.model.encoder.state_dict().items()}
    names = [sample.name for sample in dataset.samples]
    models = [own.train(names[:5], seed, 3).state_dict() for seed in (0, 0, 1)]
    after = own._prepared.segmenter.model.encoder.state_dict()
    assert all(torch.equal(before[key], value) for key, value in after.items())
    assert all(torch.equal(models[0][key], value) for key, value in models[1].items())
    assert not all(torch.equal(models[0][key], value) for key, value in models[2].items())


def test_each_model_has_not_seen_what_it_predicts(world, tmp_path, monkeypatch):
    seen = []
    real = frozen.FrozenFolds.train
    monkeypatch.setattr(
        frozen.FrozenFolds, "train", lambda own, names, *given: seen.append(set(names)) or real(own, names, *given)
    )
    rows = []
    maps = frozen._Features.maps
    monkeypatch.setattr(
        frozen._Features, "maps", lambda own, chosen, device: rows.append(chosen) or maps(own, chosen, device)
    )
    found = predict(world, tmp_path)
    names = read_json(tmp_path / "folds.json")["names"]
    views = read_json(tmp_path / "features" / "finished.json")["views"]
    order = [sample.name for sample in found.samples]
    for part, learnt in zip(names, seen, strict=True):
        assert learnt == {*order} - {*part}
        trained, rows = rows[:5], rows[5:]
        assert not {order[row // views] for batch in trained for row in batch} & {*part}
        while rows and {order[row // views] for row in rows[0]} <= {*part}:
            del rows[0]
    assert [fact.iterations for fact in found.facts] == [5] * 3
    assert [fact.images for fact in found.facts] == [11 - len(part) for part in names]


def test_views(world, tmp_path):
    """The first is the sample, the second its mirror image, the others differ."""
    dataset = load_dataset(world)
    own = FrozenFolds(dataset, list(dataset.samples), settings(world), tmp_path)
    views, masks = own._features.views, own._features.masks
    assert views == frozen._VIEWS and len(masks) == 11 * views
    for index in range(11):
        mask = own._prepared.batches.source[index][1]
        assert (masks[index * views] == mask).all() and (masks[index * views + 1] == mask[:, ::-1]).all()
    assert len({masks[row].tobytes() for row in range(len(masks))}) > 3 * 11


@pytest.mark.parametrize("when", ["features", "training", "predicting"])
def test_stopped_work_goes_on_to_the_same(world, tmp_path, monkeypatch, whole, when):
    count = {"steps": 0, "views": 0, "write": 0}
    view, update, write = frozen._view, frozen.Average.update, folds.write_probabilities

    def stopped(what, at, real, error=KeyboardInterrupt):
        def counted(*given):
            count[what] += 1
            if count[what] == at:
                raise error
            return real(*given)

        return counted

    if when == "features":
        monkeypatch.setattr(frozen, "_view", stopped("views", 20, view))
    if when == "training":
        monkeypatch.setattr(frozen.Average, "update", stopped("steps", 8, update))
    if when == "predicting":
        monkeypatch.setattr(folds, "write_probabilities", stopped("write", 6, write))
    with pytest.raises(KeyboardInterrupt):
        predict(world, tmp_path)
    monkeypatch.undo()
    again = predict(world, tmp_path)
    assert stored(tmp_path) == stored(whole.folder) and again.facts == whole.facts


def test_ctrl_c_ends_the_work(world, tmp_path, monkeypatch):
    from maskwright.base.stopping import Stop

    monkeypatch.setattr(Stop, "is_set", lambda _: True)
    with pytest.raises(Interrupted, match="the same command resumes it"):
        predict(world, tmp_path)


def test_the_callers_random_numbers_are_left_alone(world, tmp_path):
    states = [torch.get_rng_state(), np.random.get_state()[1].copy()]
    predict(world, tmp_path)
    assert torch.equal(torch.get_rng_state(), states[0]) and (np.random.get_state()[1] == states[1]).all()


def test_what_is_there_is_not_made_again(world, whole, monkeypatch):
    monkeypatch.setattr(frozen, "FrozenFolds", None)
    before = fingerprint(whole.folder)
    assert predict(world, whole.folder).facts == whole.facts
    assert fingerprint(whole.folder) == before


def test_what_was_deleted_is_made_again(world, whole):
    expected = stored(whole.folder)
    (whole.folder / "probabilities" / "train/train_03.png").unlink()
    predict(world, whole.folder, seconds=100.0, train={"iterations": None, "budget": "5m"})  # as long as before
    assert stored(whole.folder) == expected


def test_the_length_fits_into_the_time(world, tmp_path, monkeypatch):
    dataset = load_dataset(world)
    timed = settings(world, train={"iterations": None, "budget": "5m"})
    own = FrozenFolds(dataset, list(dataset.samples), timed, tmp_path)
    now = iter(range(100))
    monkeypatch.setattr(frozen.time, "perf_counter", lambda: 0.5 * next(now))
    monkeypatch.setattr(frozen.time, "monotonic", lambda: own._began + 10.0)
    assert own.length(130.0, 4) == 60  # (130 - 10) / 4 / 0.5
    assert own.length(10_000.0, 4) == frozen._MOST
    with pytest.raises(ConfigError, match=r"too short for 4 trainings \(a step takes 0\.50 s\)"):
        own.length(20.0, 4)
    epochs = settings(world, train={"iterations": None, "epochs": 3.0})
    own._config = epochs
    assert own.length(None, 4) == 9  # 3 * 11 / 4, rounded up


@pytest.mark.parametrize("name", sorted(OVER_ENCODER))
def test_every_model_over_an_encoder(world, tmp_path, name):
    found = settings(world, name)
    assert shares_encoder(found) == (name != "DPT")
    if name == "DPT":
        return
    size = 256 if name == "PAN" else 32  # it halves the last maps three times more
    found = found.model_copy(update={"data": found.data.model_copy(update={"image_size": [size, size]})})
    dataset = load_dataset(world)
    samples = list(dataset.samples)
    own = FrozenFolds(dataset, samples, found, tmp_path)
    names = [sample.name for sample in samples]
    [(probabilities, _)] = own.predict(own.train(names[:8], 0, 2), names[8:9])
    assert probabilities.shape == (3, size, size) and probabilities.sum(0) == pytest.approx(1, abs=1e-5)


def test_models_without_pretrained_weights_are_trained_as_a_whole(world):
    assert not shares_encoder(config(world))
    bare = settings(world)
    assert not shares_encoder(bare.model_copy(update={"model": bare.model.model_copy(update={"weights": "none"})}))
