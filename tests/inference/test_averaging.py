"""`predict` with several models, mirrored images and several scales: probabilities are averaged before all else."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from test_predict import IDS, SIZES, pixels, segmenter_of

from exported_model import Exported
from exported_model import segmenter_of as tree_of
from helpers import draw_pair, fingerprint, write
from maskwright.base.storage import read_json
from maskwright.cli import main
from maskwright.core.classes import SELECTORS, ClassTree
from maskwright.core.geometry import Crop
from maskwright.core.postprocessing import ClassRule, PostProcessing
from maskwright.errors import ConfigError
from maskwright.inference.averaging import Averaged, averaged
from maskwright.inference.exporting.exported import ExportedModel
from maskwright.inference.predict import predict


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    paths = [tmp_path_factory.mktemp("models") / f"{seed}.safetensors" for seed in range(3)]
    for seed, path in enumerate(paths):
        segmenter_of(seed).save(path)
    return paths


@pytest.fixture
def images(tmp_path, rng):
    for name, size in SIZES.items():
        write(tmp_path / f"images/{name}.png", draw_pair(rng, size)[0])
    return tmp_path / "images"


def whole(segmenter, image, scale=1.0, flip=False):
    """(K, H, W) as by hand: resized by Pillow, through the network, back to the image's size."""
    height, width = (round(32 * scale),) * 2
    small = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    tensor = torch.from_numpy(small.copy()).permute(2, 0, 1)[None]
    segmenter.model.eval()
    with torch.inference_mode():
        found = segmenter.logits(tensor).softmax(1)
        if flip:
            found = (found + segmenter.logits(tensor.flip(3)).softmax(1).flip(3)) / 2
    return torch.nn.functional.interpolate(found, image.shape[:2], mode="bilinear")[0].numpy()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scales", [(), (0.75, 1, 1.25), (1.5,)])
@pytest.mark.parametrize("count", [1, 2])
def test_the_mean_of_all_is_what_is_labelled(rng, flip, scales, count):
    segmenters = [segmenter_of(seed) for seed in range(count)]
    images = [draw_pair(rng, size)[0] for size in SIZES.values()] * 3
    model = averaged(segmenters[0], segmenters[1:], flip, scales)
    every = [*product(segmenters, scales or (1.0,))]
    for image, (maps, found), labels in zip(images, model.labelled(images, 8, True), model.label(images), strict=True):
        expected = np.mean([whole(one, image, scale, flip) for one, scale in every], 0)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        clear = np.diff(np.sort(expected, 0)[-2:], axis=0)[0] > 1e-4
        np.testing.assert_array_equal(labels[clear], expected.argmax(0)[clear])
        np.testing.assert_array_equal(labels, maps[-1])


def test_nothing_to_average_is_the_model_itself():
    segmenter = segmenter_of()
    assert averaged(segmenter) is segmenter and averaged(segmenter, scales=[1.0]) is segmenter
    assert averaged(segmenter, flip_average=True).flip_average is True


@pytest.mark.parametrize("selector", SELECTORS)
def test_levels_are_chosen_from_the_means(rng, selector):
    segmenters = [tree_of(seed, selector=selector) for seed in range(3)]
    image = draw_pair(rng, (40, 50))[0]
    model = averaged(segmenters[0], segmenters[1:])
    ((levels, maps),) = model.label_with_maps([image])
    means = np.mean([next(one.own_probabilities([image])).numpy() for one in segmenters], 0)
    np.testing.assert_allclose(np.stack([maps()(index) for index in range(4)]), means, atol=1e-5)
    expected = segmenters[0].selected(lambda members: torch.from_numpy(means[list(members)].sum(0)))
    assert all((one == other).mean() > 0.999 for one, other in zip(levels, expected, strict=True))


def test_windows_and_whole_images_together(rng):
    """Of windows `scales` multiply the scale that they have."""
    crops = [
        replace(segmenter_of(seed), preprocessing=segmenter_of(crop=Crop(0.8, 0.5)).preprocessing) for seed in (0, 1)
    ]
    alone = segmenter_of(2)
    image = draw_pair(rng, (90, 70))[0]
    model = averaged(crops[0], [crops[1], alone], scales=[0.5, 1])
    geometry = crops[0].preprocessing.geometry
    halved = [
        replace(one, preprocessing=replace(one.preprocessing, geometry=replace(geometry, crop=Crop(0.4, 0.5))))
        for one in crops
    ]
    parts = [next(one.own_probabilities([image])).numpy() for one in (*crops, *halved)]
    expected = np.mean([*parts, whole(alone, image), whole(alone, image, 0.5)], 0)
    ((_, found),) = model.labelled([image, image][:1], 3, True)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_post_processing_comes_after_averaging(rng):
    rules = PostProcessing(tuple(ClassRule(f"class {id_}", min_pixels=40 * (id_ > 0)) for id_ in IDS))
    first, second = replace(segmenter_of(0), postprocessing=rules), segmenter_of(1)
    image = draw_pair(rng, (48, 48))[0]
    plain = averaged(replace(first, postprocessing=None), [second]).label(image)
    assert not np.array_equal(plain, rules.apply(plain))
    np.testing.assert_array_equal(averaged(first, [second]).label(image), rules.apply(plain))


def test_exported_models(exported: Exported, pictures):
    torch_model, onnx_model = exported.segmenter, ExportedModel.open(exported.file)
    ways = {"flip_average": False, "scales": [0.75, 1, 1.5]}
    both = [averaged(model, [model], **ways).label(pictures) for model in (torch_model, onnx_model)]
    assert min((one == other).mean() for one, other in zip(*both, strict=True)) > 0.99
    mixed = averaged(torch_model, [onnx_model])
    assert isinstance(mixed, Averaged)
    for one, other in zip(mixed.label(pictures), torch_model.label(pictures), strict=True):
        assert (one == other).mean() > 0.999


def test_what_cannot_be_averaged(exported: Exported):
    segmenter, other = segmenter_of(), segmenter_of(ids=[0, 7, 201])
    with pytest.raises(
        ConfigError, match=r"`with_`: its classes \(class 0, class 7, class 201; ids \[0, 7, 201\]\) are not"
    ):
        averaged(segmenter, [other])
    flat = replace(
        exported.segmenter, classes=ClassTree.flat(exported.segmenter.classes.names, exported.segmenter.classes.ids)
    )
    with pytest.raises(ConfigError, match="average models of the same classes"):
        averaged(exported.segmenter, [flat])
    with pytest.raises(
        ConfigError, match=r"`with_`: it takes RGB \(EXIF: ignore\), and the first model RGB \(EXIF: apply\)"
    ):
        averaged(segmenter, [replace(segmenter, preprocessing=replace(segmenter.preprocessing, exif="ignore"))])
    for scale in (0, -1, 9, float("nan")):
        with pytest.raises(ConfigError, match="`scales`: .* is no scale; give numbers above 0"):
            averaged(segmenter, scales=[1, scale])


def test_a_network_of_one_size():
    segmenter = segmenter_of()
    whole_size = segmenter.model.forward

    def fixed(batch):
        if batch.shape[2:] != (32, 32):
            raise RuntimeError("positions do not fit")
        return whole_size(batch)

    segmenter.model.forward = fixed
    with pytest.raises(ConfigError, match=r"`scales`: 0\.5 is not possible, as the model takes images of 32x32 only"):
        averaged(segmenter, scales=[0.5, 1])


def test_a_folder_is_continued_only_in_the_same_way(models, images, tmp_path):
    out = tmp_path / "out"
    result = predict(models[0], [images], out=out, with_=models[1:], scales=[0.75, 1], flip_average=True)
    found = read_json(out / "model.json")["averaging"]
    assert found["scales"] == [0.75, 1] and found["flip_average"] is True and len(set(found["with"])) == 2
    segmenters = [segmenter_of(seed) for seed in range(3)]
    for row in result.rows:
        image = pixels(row["image"])
        expected = np.mean([whole(one, image, scale, True) for one in segmenters for scale in (0.75, 1)], 0)
        assert (pixels(out / row["mask"]) == np.array(IDS)[expected.argmax(0)]).mean() > 0.99
    before = fingerprint(out)
    assert predict(models[0], [images], out=out, with_=models[1:], scales=[0.75, 1], flip_average=True).kept == 4
    for other in ({}, {"with_": models[1:]}, {"with_": models[2:0:-1], "scales": [0.75, 1], "flip_average": True}):
        with pytest.raises(ConfigError, match="averaged in another way, or not at all"):
            predict(models[0], [images], out=out, **other)
    assert fingerprint(out) == before
    predict(models[0], [images], out=tmp_path / "plain", scales=[1])
    assert "averaging" not in read_json(tmp_path / "plain/model.json")


def test_from_the_command_line(models, images, tmp_path, capsys):
    options = ["--with", str(models[1]), "--with", str(models[2]), "--scales", "0.75,1", "--flip-average"]
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(models[0]), str(images), "--out", str(tmp_path / "cli"), *options])
    assert not ended.value.code
    predict(models[0], [images], out=tmp_path / "python", with_=models[1:], scales=[0.75, 1], flip_average=True)
    for mask in (tmp_path / "python/masks").rglob("*.png"):
        assert mask.read_bytes() == (tmp_path / "cli/masks" / mask.relative_to(tmp_path / "python/masks")).read_bytes()
    for text, what in (("1,x", "is no list of numbers"), ("0", "--scales: 0 is no scale")):
        with pytest.raises(SystemExit) as ended:
            main(["predict", str(models[0]), str(images), "--out", str(tmp_path / "no"), "--scales", text])
        assert ended.value.code == 2 and what in " ".join(capsys.readouterr().err.split())
    labels = predict(models[0], pixels(images / "a.png"), with_=models[1:], scales=[0.75, 1], flip_average=True)
    assert np.array_equal(np.array(IDS)[labels], pixels(tmp_path / "python/masks/a.png"))
