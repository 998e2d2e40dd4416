"""Parts of a config in words, one way for charts, board and reports."""

from __future__ import annotations

import pytest

from maskwright.evaluation.naming import brief, loss_name, network_name, network_names, short_name


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "none"),
        (0.001, "0.001"),
        ([224, 224], "[224, 224]"),
        ({}, "none"),
        ({"a": 1, "b": [2]}, "a=1, b=[2]"),
        ([{"name": "ce"}, {"name": "dice", "weight": 3.0}], "ce + 3 dice"),
        (True, "True"),
    ],
)
def test_a_value_on_a_line(value, words):
    assert brief(value) == words


def test_a_loss_is_short_before_its_bracket():
    terms = [
        {"name": "ce", "weight": 1.0, "class_weights": "inverse_frequency", "levels": None},
        {"name": "tversky", "weight": 0.5, "alpha": 0.3, "class_weights": "none"},
    ]
    name = loss_name(terms)
    assert name == "ce + 0.5 tversky (ce class_weights=inverse_frequency; tversky alpha=0.3)"
    assert short_name(name) == "ce + 0.5 tversky" and short_name("ce") == "ce"


def test_networks_alone_and_beside_each_other():
    model = {"name": "Unet", "encoder": "resnet34", "weights": "imagenet", "args": {"depth": 3}}
    assert network_name(model) == "Unet resnet34 (weights=imagenet, depth=3)"
    assert network_name({"name": "SegNet", "encoder": None, "weights": "none"}) == "SegNet"
    flat = [
        {"name": "Unet", "encoder": "resnet34", "weights": "none", "args.depth": 3},
        {"name": "Unet", "encoder": "resnet34", "weights": "none", "args.depth": 5},
        {"name": "SegNet", "weights": "none"},
        {},
    ]
    assert network_names(flat) == ["Unet resnet34 (depth=3)", "Unet resnet34 (depth=5)", "SegNet", ""]
