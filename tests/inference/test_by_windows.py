"""Images that are too large to be held get the masks that they would get if they were not."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from test_predict import pixels

from exported_model import TREE, segmenter_of
from maskwright.base.storage import read_json
from maskwright.core import tiff_windows
from maskwright.core.classes import ClassTree
from maskwright.core.geometry import Crop, Geometry
from maskwright.core.postprocessing import ClassRule, PostProcessing
from maskwright.core.predictor import with_selector
from maskwright.core.smoothing import Smoothing
from maskwright.errors import DataError
from maskwright.inference import by_windows
from maskwright.inference import predict as module
from maskwright.inference.averaging import averaged
from maskwright.inference.exporting.exported import ExportedModel
from maskwright.inference.exporting.graph import to_onnx
from maskwright.inference.exporting.metadata import Metadata
from maskwright.inference.predict import predict

SIZE = (237, 310)
PLACE = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0), True),
    (34735, "H", 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
    (34737, "s", 0, "WGS 84 / UTM zone 11N|", True),
]


@pytest.fixture
def image(tmp_path):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    found = np.asarray(small.resize(SIZE[::-1], Image.Resampling.BICUBIC))
    (tmp_path / "images").mkdir()
    tifffile.imwrite(
        tmp_path / "images/city.tif", found, photometric="rgb", tile=(64, 64), metadata=None, extratags=PLACE
    )
    return tmp_path / "images/city.tif"


@pytest.fixture
def large(monkeypatch):
    """What has 10,000 pixels is."""
    return lambda: monkeypatch.setattr(tiff_windows, "MAX_PIXELS", 10_000)


def saved(segmenter, folder, kind):
    if kind == "torch":
        segmenter.save(folder / "model.safetensors")
        return folder / "model.safetensors"
    metadata = Metadata(
        segmenter.classes, segmenter.preprocessing, segmenter.spec.to_dict(), selector=segmenter.selector
    )
    (folder / "model.onnx").write_bytes(to_onnx(segmenter, metadata).SerializeToString())
    return folder / "model.onnx"


def of_geometry(geometry, classes=TREE):
    segmenter = segmenter_of()
    return replace(segmenter, preprocessing=replace(segmenter.preprocessing, geometry=geometry), classes=classes)


def both(model, image, folder, large, **options):
    """The row and the folder of the image as it is read usually, and by windows."""
    before = predict(model, [image], out=folder / "whole", **options)
    large()
    after = predict(model, [image], out=folder / "windows", **options)
    return (before.rows[0], before.folder), (after.rows[0], after.folder)


GEOMETRIES = {
    "windows": Geometry((48, 80), crop=Crop()),
    "windows of a smaller image": Geometry((48, 80), resample="bilinear", crop=Crop(0.6, 0.4)),
    "windows of a larger image": Geometry((48, 80), resample="bilinear", crop=Crop(1.3)),
    "whole": Geometry((48, 80)),
    "whole, with its ratio": Geometry((48, 80), keep_ratio=True),
}


@pytest.mark.parametrize("kind", ["torch", "onnx"])
@pytest.mark.parametrize("shape", GEOMETRIES)
def test_the_same_masks(tmp_path, image, large, shape, kind):
    model = saved(of_geometry(GEOMETRIES[shape]), tmp_path, kind)
    (before, whole), (after, windows) = both(model, image, tmp_path, large, levels=True)
    assert after["mask"] == "masks/city.tif" and before["mask"] == "masks/city.png"
    assert after["levels"] == ["levels/1/city.tif", "levels/2/city.tif"] and (after["height"], after["width"]) == SIZE
    for old, new in zip([before["mask"], *before["levels"]], [after["mask"], *after["levels"]], strict=True):
        found, wanted = tifffile.imread(windows / new), pixels(whole / old)
        assert found.dtype == wanted.dtype and found.shape == wanted.shape and len(np.unique(found)) > 1
        # Resampled parts differ by rounding, which this network of random weights makes much of.
        assert (found == wanted).mean() > (0.99 if "of a" in shape else 0.9999)
    if shape == "windows":
        assert after == before | {key: after[key] for key in ("mask", "levels")}
    assert sum(after["pixels"].values()) == SIZE[0] * SIZE[1]
    drawn = [np.asarray(Image.open(folder / "overlays/city.jpg")).astype(int) for folder in (whole, windows)]
    assert np.abs(drawn[0] - drawn[1]).mean() < (6 if "of a" in shape else 1)


def test_the_file_is_one_that_programs_for_maps_read(tmp_path, image, large):
    model = saved(of_geometry(GEOMETRIES["windows"]), tmp_path, "torch")
    large()
    result = predict(model, [image], out=tmp_path / "out")
    with tifffile.TiffFile(result.folder / "masks/city.tif") as file:
        page = file.pages[0]
        assert file.is_bigtiff and page.is_tiled and page.compression == 8
        for tag, _, _, value, _ in PLACE:
            assert page.tags[tag].value == value
        colours = (np.asarray(page.colormap).T // 257)[TREE.ids]
        np.testing.assert_array_equal(colours, TREE.colours)
    with Image.open(result.folder / "masks/city.tif") as opened:
        assert opened.mode == "P"
        np.testing.assert_array_equal(np.asarray(opened), tifffile.imread(result.folder / "masks/city.tif"))


def test_ids_beyond_bytes(tmp_path, image, large):
    names = [leaf.name for leaf in TREE.leaves]
    classes = ClassTree.flat(names, [300 * number for number in range(len(names))], ignore=65535)
    model = saved(of_geometry(GEOMETRIES["windows"], classes), tmp_path, "torch")
    (before, whole), (after, windows) = both(model, image, tmp_path, large)
    found = tifffile.imread(windows / after["mask"])
    assert found.dtype == np.uint16 and found.max() > 255
    np.testing.assert_array_equal(found, pixels(whole / before["mask"]))


def test_the_overlay_is_of_a_smaller_copy(tmp_path, image, large, monkeypatch):
    monkeypatch.setattr(by_windows, "_OVERLAY", 100)
    model = saved(of_geometry(GEOMETRIES["windows"]), tmp_path, "torch")
    large()
    predict(model, [image], out=tmp_path / "out")
    with Image.open(tmp_path / "out/overlays/city.jpg") as opened:
        assert opened.size == (100, 76)


@pytest.mark.parametrize("selector", ["leaf", "top_down", "levels"])
def test_selectors(tmp_path, image, large, selector):
    model = saved(with_selector(of_geometry(GEOMETRIES["windows"]), selector), tmp_path, "torch")
    (before, whole), (after, windows) = both(model, image, tmp_path, large, levels=True)
    for old, new in zip([before["mask"], *before["levels"]], [after["mask"], *after["levels"]], strict=True):
        assert (tifffile.imread(windows / new) == pixels(whole / old)).mean() > 0.9999


class TestPostProcessing:
    def rules(self, smoothing=None, **rule):
        """Of every second class."""
        rules = (ClassRule(name, **(rule if number % 2 else {})) for number, name in enumerate(TREE.names))
        return PostProcessing(tuple(rules), smoothing)

    def outcome(self, image, segmenter):
        opened = tiff_windows.open_windows(image, segmenter.preprocessing.bands)
        with opened as windows:
            return [np.concatenate(level) for level in zip(*segmenter.label_strips(windows, "city"), strict=True)]

    @pytest.mark.parametrize("rule", [{"min_pixels": 30}, {"fill_holes": 40}, {"min_probability": 0.7}])
    @pytest.mark.parametrize("kind", ["torch", "onnx"])
    def test_as_of_the_whole_image(self, tmp_path, image, large, rule, kind):
        plain = of_geometry(GEOMETRIES["windows"])
        if kind == "onnx":
            plain = ExportedModel.open(saved(plain, tmp_path, "onnx"))
        segmenter = replace(plain, postprocessing=self.rules(**rule))
        whole = next(segmenter.label_levels([np.asarray(Image.open(image))]))
        large()
        for found, wanted in zip(self.outcome(image, segmenter), whole, strict=True):
            assert (found == wanted).mean() > 0.9999
        assert (self.outcome(image, segmenter)[-1] != self.outcome(image, plain)[-1]).any()

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"largest_only": True}, r"city is so large .* \(only the largest component kept\) needs the whole image"),
            ({"smoothing": Smoothing(2, 0.1)}, r"city is so large .* \(smoothing\) needs the whole image"),
        ],
    )
    def test_what_needs_the_whole_image_is_refused(self, image, large, given, said):
        large()
        segmenter = replace(of_geometry(GEOMETRIES["whole"]), postprocessing=self.rules(**given))
        with pytest.raises(DataError, match=said.replace("city ", "city: ")):
            self.outcome(image, segmenter)


def test_an_average_has_one_part(image):
    model = averaged(of_geometry(GEOMETRIES["whole"]), [], scales=(1, 0.5))
    pixels = np.asarray(Image.open(image))
    (part,) = model.image_parts(pixels, 8)
    assert (part.rows, part.columns) == (slice(0, SIZE[0]), slice(0, SIZE[1]))
    np.testing.assert_array_equal(model.selected(part.maps)[-1], model.label(pixels))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"probabilities": True}, "probabilities of such images are not written; leave `probabilities` out"),
        ({"scales": (1, 0.5)}, "an average over models or scales needs the whole image"),
    ],
)
def test_others_are_predicted_where_one_is_too_large(tmp_path, image, large, options, said):
    model = saved(of_geometry(GEOMETRIES["whole"]), tmp_path, "torch")
    Image.open(image).resize((40, 30)).save(image.with_name("small.png"))
    large()
    result = predict(model, [image.parent], out=tmp_path / "out", **options)
    assert [row["mask"] for row in result.rows] == ["masks/small.png"]
    (skipped,) = result.skipped
    assert said in skipped["reason"] and str(image) in skipped["reason"]


def test_a_damaged_tile_leaves_nothing_behind(tmp_path, image, large):
    with tifffile.TiffFile(image, mode="r+b") as file:
        tag = file.pages[0].tags["TileOffsets"]
        tag.overwrite((*tag.value[:-1], 1 << 30))
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(image.with_name("small.png"))
    model = saved(of_geometry(GEOMETRIES["windows"]), tmp_path, "torch")
    large()
    result = predict(model, [image.parent], out=tmp_path / "out")
    assert [row["mask"] for row in result.rows] == ["masks/small.png"] and len(result.skipped) == 1
    assert [path.name for path in (tmp_path / "out/masks").iterdir()] == ["small.png"]


def test_formats_leave_it_out_and_say_so(tmp_path, image, large, capsys):
    Image.open(image).resize((40, 30)).save(image.with_name("small.png"))
    model = saved(of_geometry(GEOMETRIES["windows"]), tmp_path, "torch")
    large()
    result = predict(model, [image.parent], out=tmp_path / "out", format="coco")
    assert {row["mask"] for row in result.rows} == {"masks/small.png", "masks/city.tif"}
    assert "coco: leaves out 1 image too large to be held" in capsys.readouterr().err
    assert [one["file_name"] for one in read_json(tmp_path / "out/coco.json")["images"]] == ["small.png"]
    assert "city.tif,masks/city.tif" in (tmp_path / "out/statistics.csv").read_text()


def test_a_call_goes_on_and_an_image_that_has_shrunk_is_predicted_anew(tmp_path, image, large, monkeypatch):
    model = saved(of_geometry(GEOMETRIES["windows"]), tmp_path, "torch")
    large()
    predict(model, [image], out=tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(module, "predict_by_windows", None)  # not called
        assert predict(model, [image], out=tmp_path / "out").kept == 1
    tifffile.imwrite(image, np.zeros((30, 40, 3), np.uint8), photometric="rgb")
    assert [row["mask"] for row in predict(model, [image], out=tmp_path / "out").rows] == ["masks/city.png"]
    assert not (tmp_path / "out/masks/city.tif").exists()


def test_memory_errors_name_the_image(tmp_path, image, large, monkeypatch):
    def fail(*_):
        raise MemoryError

    model = saved(of_geometry(GEOMETRIES["windows"]), tmp_path, "torch")
    large()
    monkeypatch.setattr(torch, "from_numpy", fail)
    with pytest.raises(module.SetupError, match=r"city.tif: not enough memory to predict an image of 310x237"):
        predict(model, [image], out=tmp_path / "out")
