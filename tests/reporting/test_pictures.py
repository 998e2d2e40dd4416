from __future__ import annotations

import base64

import cv2
import numpy as np

from maskwright.core.classes import ClassTree
from maskwright.reporting.pictures import (
    labelled_overlay,
    marked_differences,
    numbered_boxes,
    picture,
    present,
    shrink,
    views,
)


def decoded(uri: str) -> np.ndarray:
    head, data = uri.split(",")
    assert head == "data:image/webp;base64"
    return np.asarray(cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR))[..., ::-1]


def test_a_picture_is_the_image_made_small():
    image = np.zeros((200, 800, 3), np.uint8)
    image[:, :400] = (200, 30, 60)
    made = picture(image, "image", "an image")
    assert (made.width, made.height) == (320, 80)
    found = decoded(made.uri)
    assert found.shape == (80, 320, 3)
    assert np.abs(found[40, 40].astype(int) - (200, 30, 60)).max() < 12 and found[40, 300].max() < 12


def test_small_images_are_not_blown_up_and_tall_ones_are_bounded():
    assert shrink(np.zeros((10, 20, 3), np.uint8)).shape == (10, 20, 3)
    assert shrink(np.zeros((9000, 30, 3), np.uint8)).shape == (640, 2, 3)
    assert shrink(np.zeros((1, 4000, 3), np.uint8)).shape == (1, 320, 3)


def test_regions_carry_the_id_of_their_class_unless_there_are_only_two():
    image, mask = np.full((100, 160, 3), 90, np.uint8), np.zeros((100, 160), np.uint8)
    mask[20:80, 20:80] = 1
    two, three = (labelled_overlay(image, mask, ClassTree.flat(names)) for names in (["bg", "a"], ["bg", "a", "b"]))
    changed = (two != three).any(2)
    rows, columns = np.nonzero(changed)
    assert {rows.min() > 35, rows.max() < 65, columns.min() > 35, columns.max() < 65} == {True}
    # Dark strokes on a light edge, whatever the colour below.
    assert three[changed].max(1).min() < 10 and three[changed].min(1).max() > 190
    assert two[changed].min(1).max() < 190


def test_missed_pixels_are_hatched_and_false_alarms_are_not():
    image = np.full((40, 60, 3), 100, np.uint8)
    truth, prediction = np.zeros((2, 40, 60), np.uint8)
    truth[:, :20], prediction[:, 40:] = 1, 1
    truth[0] = 255
    found = marked_differences(image, truth, prediction)
    assert (found[1:, :20] == 0).all(2).any() and (found[1:, :20] == (230, 159, 0)).all(2).any()
    assert (found[1:, 40:] == (86, 180, 233)).all()
    assert (found[0] == found[20, 30]).all()  # ignored pixels are never an error


def test_views_tell_in_words_what_they_show():
    classes = ClassTree.flat(["bg", "cat"])
    image, truth = np.full((20, 20, 3), 50, np.uint8), np.zeros((20, 20), np.uint8)
    truth[:10], truth[10] = 1, 255
    made = views("x/1", image, truth, np.zeros_like(truth), classes)
    assert [view.label for view in made] == ["image", "truth", "prediction", "difference"]
    assert made[1].alt == "x/1: the truth; bg 45.0 %, cat 50.0 %, ignored 5.0 %"
    assert made[2].alt == "x/1: the prediction; bg 100.0 %"
    assert made[3].alt == "x/1: where they differ, 52.6 % of the counted pixels"
    assert present(np.zeros((2, 2), np.uint8), classes) == "bg 100.0 %"


def test_boxes_lie_around_their_regions_and_carry_numbers():
    small = np.full((60, 80, 3), 90, np.uint8)
    found = numbered_boxes(small, [(40, 100, 100, 80), (300, 0, 20, 20)], (240, 320))
    changed = (found != small).any(2)
    assert (found[25, 25:35] == 255).all() and (found[44, 10:35] == 255).all()
    assert (found[26:44, 10] == 255).all() and (found[26:44, 34] == 255).all()
    assert not changed[28:42, 13:32].any() and not changed[47:].any()
    assert changed[10:24, 10:18].all()  # the number stands on the box
    assert changed[5:15, 66:].any()  # or inside, where there is no room
    assert (small == 90).all()
