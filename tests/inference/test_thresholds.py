"""A least probability of a class, by whatever computes the labels."""

import json
from dataclasses import replace

import numpy as np
import pytest

from exported_model import TREE, Exported, segmenter_of
from maskwright.core.geometry import Crop
from maskwright.core.postprocessing import ClassRule, PostProcessing
from maskwright.core.predictor import with_postprocessing, with_selector
from maskwright.core.smoothing import Smoothing
from maskwright.core.tiles import NUMPY, whole
from maskwright.errors import ConfigError, DataError
from maskwright.inference.averaging import averaged
from maskwright.inference.exporting.exported import ExportedModel
from maskwright.inference.exporting.metadata import Metadata

LEAST = (0.0, 0.7, 0.6, 0.9)
RULES = PostProcessing(
    tuple(ClassRule(leaf.name, min_probability=p) for leaf, p in zip(TREE.leaves, LEAST, strict=True))
)


def expected(probabilities: np.ndarray) -> np.ndarray:
    below = probabilities < np.array(LEAST, np.float32)[:, None, None]
    return np.where(below, probabilities - 1, probabilities).argmax(0)


def models(exported: Exported, crop: Crop | None):
    made = exported.segmenter, ExportedModel.open(exported.file)
    for model in made:
        preprocessing = model.preprocessing
        if crop:
            geometry = replace(preprocessing.geometry, keep_ratio=False, crop=crop)
            preprocessing = replace(preprocessing, geometry=geometry)
        yield replace(model, preprocessing=preprocessing)


@pytest.mark.parametrize("crop", [None, Crop(), Crop(0.7, 0.5)])
def test_torch_and_exported_models_and_their_mean(exported: Exported, pictures, crop) -> None:
    plain = [*models(exported, crop)]
    both = averaged(plain[0], [replace(segmenter_of(3), preprocessing=plain[0].preprocessing)])
    for model in (*plain, both):
        done = with_postprocessing(model, RULES, "x")
        changed = 0
        for image in pictures:
            ((before, probabilities),) = model.labelled([image], 4, True)
            labels = expected(probabilities)
            ((after, same),) = done.labelled([image], 4, True)
            np.testing.assert_array_equal(same, probabilities)
            assert np.mean(after[-1] == labels) > 0.999
            ((levels, _),) = done.label_with_maps([image])
            assert np.mean(levels[-1] == labels) > 0.999
            for level, mask in zip(TREE.levels, after, strict=True):
                np.testing.assert_array_equal(mask, level.mask(after[-1]))
            changed += int((before[-1] != after[-1]).sum())
        assert changed > 100


def test_smoothing_by_torch_exported_models_and_their_mean(exported: Exported, pictures) -> None:
    rules = PostProcessing(tuple(ClassRule(leaf.name) for leaf in TREE.leaves), Smoothing(3, 0.05))
    plain = [*models(exported, None)]
    both = averaged(plain[0], [replace(segmenter_of(3), preprocessing=plain[0].preprocessing)])
    for model in (*plain, both):
        done = with_postprocessing(model, rules, "x")
        changed, ways = 0, model.preprocessing
        for image in pictures:
            ((before, probabilities),) = model.labelled([image], 4, True)
            maps = rules.smoothing.on(whole(probabilities), image, ways.geometry, ways.bands, NUMPY)
            labels = np.stack([maps([index]) for index in range(len(TREE))]).argmax(0)
            ((after, same),) = done.labelled([image], 4, True)
            np.testing.assert_array_equal(same, probabilities)
            assert np.mean(after[-1] == labels) > 0.999
            ((levels, _),) = done.label_with_maps(iter([image]))
            assert np.mean(levels[-1] == labels) > 0.999
            changed += int((before[-1] != after[-1]).sum())
        assert changed > 100
    for model in models(exported, Crop()):
        with pytest.raises(DataError, match="the model sees windows; tune again"):
            with_postprocessing(model, rules, "x")


def test_an_exported_file_keeps_it(exported: Exported) -> None:
    metadata = replace(ExportedModel.open(exported.file).metadata, postprocessing=RULES)
    assert Metadata.from_json(metadata.to_json(), "x").postprocessing == RULES
    assert json.loads(metadata.to_json())["postprocessing"]["rules"][1]["min_probability"] == 0.7


def test_groups_that_are_chosen_first(exported: Exported) -> None:
    done = with_postprocessing(exported.segmenter, RULES, "x")
    with pytest.raises(ConfigError, match=r"selector: top_down chooses groups first, .* leave post-processing out"):
        with_selector(done, "top_down")
    with pytest.raises(ConfigError, match="selector: top_down chooses groups first"):
        with_postprocessing(with_selector(exported.segmenter, "top_down"), RULES, "x")
