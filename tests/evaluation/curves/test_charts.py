"""What stands on which chart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskwright.errors import ConfigError
from maskwright.evaluation.curves.charts import arrange, bound
from maskwright.evaluation.curves.curve import Curves, Setup


def curves(
    network: str | None,
    loss: str | None,
    *,
    seed: int = 0,
    miou=(0.2, 0.6, 0.5),
    name: str | None = None,
    tool: str = "maskwright",
    axis: str = "iteration",
    every: int = 100,
    **more,
) -> Curves:
    xs = [float(every * (i + 1)) for i in range(len(miou))]
    series = {"loss": [1 / x for x in xs], "val_loss": [2 / x for x in xs], "val_mIoU": list(miou), **more}
    recipe = f"{network} {loss}" if network else None
    return Curves(
        name or f"{network}-{loss}-{seed}",
        tool,
        Path("x"),
        axis,
        {key: tuple(zip(xs, ys, strict=True)) for key, ys in series.items()},
        Setup(network, loss, seed if network else None, recipe),
    )


MATRIX = [curves(network, loss) for network in ("UNet", "SegNet") for loss in ("ce", "dice")]


def told(charts) -> list[tuple[str, list[str]]]:
    return [(chart.title, [line.name for line in chart.lines]) for chart in charts]


def test_by_run_each_network_and_loss_has_its_charts():
    charts = arrange(MATRIX[:2])
    assert told(charts) == [
        ("UNet, ce: loss", ["training", "validation"]),
        ("UNet, ce: mIoU", ["validation"]),
        ("UNet, dice: loss", ["training", "validation"]),
        ("UNet, dice: mIoU", ["validation"]),
    ]
    assert charts[0].mark == (200.0, "best: 200") and charts[0].y_label == "loss (no unit)"
    assert charts[1].y_label == "mIoU (0 to 1)" and charts[1].x_label == "iterations"
    assert [line.style for line in charts[0].lines] == [0, 1] and charts[1].lines[0].style == 1


def test_by_network_the_losses_are_lines():
    assert told(arrange(MATRIX, by="network", quantities=["mIoU"])) == [
        ("UNet: validation mIoU", ["ce", "dice"]),
        ("SegNet: validation mIoU", ["ce", "dice"]),
    ]


def test_by_loss_the_networks_are_lines():
    assert told(arrange(MATRIX, by="loss")) == [
        ("ce: validation loss", ["UNet", "SegNet"]),
        ("ce: validation mIoU", ["UNet", "SegNet"]),
        ("dice: validation loss", ["UNet", "SegNet"]),
        ("dice: validation mIoU", ["UNet", "SegNet"]),
    ]


@pytest.mark.parametrize("by", ["run", "network", "loss", "best"])
@pytest.mark.parametrize("quantity", ["loss", "val_loss", "train_loss"])
def test_never_two_losses_on_one_axis(by, quantity):
    several = [
        *MATRIX,
        curves("UNet", "ce (ce class_weights=median_frequency)"),
        curves(None, None, name="a", tool="mmcv"),
        curves(None, None, name="b", tool="mmcv"),
    ]
    of = {one.name: one.setup.loss or one.name for one in several}
    charts = arrange(several, by=by, quantities=[quantity])
    assert charts
    for chart in charts:
        assert len({of[run] for line in chart.lines for run in line.runs}) == 1


def test_the_best_of_each():
    several = [
        curves("UNet", "ce", miou=(0.9, 0.1, 0.1)),
        curves("UNet", "dice", miou=(0.2, 0.3, 0.8)),
        curves("SegNet", "ce", miou=(0.5, 0.5, 0.5)),
        curves("SegNet", "dice", miou=(0.6, 0.1, 0.2)),
    ]
    charts = arrange(several, by="best")
    assert told(charts) == [
        ("best of each network: validation mIoU", ["UNet ce", "SegNet dice"]),
        ("best of each loss: validation mIoU", ["UNet ce", "UNet dice"]),
    ]
    assert charts[0].lines[0].style == charts[1].lines[0].style
    assert "best validation mIoU" in charts[0].caption
    with pytest.raises(ConfigError, match="`by` run"):
        arrange([Curves("a", "lightning", Path("x"), "iteration", {"loss": ((1.0, 1.0),)})], by="best")


def test_repeated_seeds_are_a_mean_in_a_band():
    seeds = [curves("UNet", "ce", seed=seed, miou=np.array([0.2, 0.6, 0.5]) + seed / 10) for seed in range(3)]
    (chart,) = arrange([*seeds, curves("UNet", "dice")], by="network", quantities=["mIoU"])
    line, other = chart.lines
    assert line.name == "ce" and line.runs == ("UNet-ce-0", "UNet-ce-1", "UNet-ce-2") and not other.band
    assert [y for _, y in line.points] == pytest.approx([0.3, 0.7, 0.6])
    assert line.band[0] == pytest.approx((100, 0.2, 0.4)) and "Mean of 3 runs" in chart.caption
    (chart,) = arrange(seeds, quantities=["mIoU"])
    assert chart.mark is None and chart.lines[0].runs == line.runs


def test_seeds_that_were_evaluated_elsewhere_meet_where_all_are():
    one, other = curves("UNet", "ce", miou=(0.0, 1.0)), curves("UNet", "ce", seed=1, miou=(0.0, 0.5, 1.0), every=75)
    (chart,) = arrange([one, other], quantities=["mIoU"])
    points = dict(chart.lines[0].points)
    assert list(points) == [100, 150, 200]
    assert points[150] == pytest.approx((0.5 + 0.5) / 2) and points[200] == pytest.approx((1 + 0.5 + 0.5 * 50 / 75) / 2)


def test_other_tools_stand_beside_ours_in_a_share_of_each():
    theirs = curves(None, None, name="yolo", tool="ultralytics", axis="epoch", every=1)
    (chart,) = arrange([MATRIX[0], theirs], by="best", quantities=["mIoU"])
    assert chart.x_label == "% of each training"
    assert [x for x, _ in chart.lines[1].points] == pytest.approx([100 / 3, 200 / 3, 100])
    assert "own split and scoring: yolo (ultralytics)." in chart.caption and told([chart])[0][1] == ["UNet ce", "yolo"]
    with pytest.raises(ConfigError, match="such as 50%"):
        arrange([MATRIX[0], theirs], by="best", from_=2)


def test_zoomed_to_a_range():
    (chart,) = arrange(MATRIX[:1], quantities=["mIoU"], from_=150, to=250)
    assert chart.lines[0].points == ((200.0, 0.6),) and (chart.start, chart.end) == (150, 250) and chart.mark
    (chart,) = arrange(MATRIX[:1], quantities=["mIoU"], from_=0.5)
    assert [x for x, _ in chart.lines[0].points] == [200, 300] and (chart.start, chart.end) == (150, 300)
    (chart,) = arrange(MATRIX[:1], quantities=["mIoU"], to=0.5)
    assert chart.mark is None
    for wrong, said in (
        ({"from_": 400}, "widen"),
        ({"from_": 200, "to": 100}, "widen"),
        ({"from_": -1}, "before"),
        ({"to": 1.5}, "no share"),
    ):
        with pytest.raises(ConfigError, match=said):
            arrange(MATRIX[:1], **wrong)


def test_bounds_from_the_command_line():
    assert [bound(text, "--to") for text in ("200", "0.5", "50%", "1", "1.0", None)] == [200, 0.5, 0.5, 1, 1.0, None]
    assert isinstance(bound("1", "--to"), int)
    for wrong in ("half", "%", "-", "1e"):
        with pytest.raises(ConfigError, match="--from: .* neither"):
            bound(wrong, "--from")


def test_quantities_by_name():
    assert told(arrange(MATRIX[:1], quantities=["train_loss", "val_loss"])) == [
        ("UNet, ce: loss", ["training"]),
        ("UNet, ce: loss", ["validation"]),
    ]
    with pytest.raises(ConfigError, match="no log has 'miou'; did you mean 'mIoU'") as caught:
        arrange(MATRIX, quantities=["miou", "nothing"])
    assert len(caught.value.problems) == 2


def test_without_a_sum_each_part_of_the_loss_has_its_chart():
    one = Curves(
        "yolo",
        "ultralytics",
        Path("x"),
        "epoch",
        dict.fromkeys(
            ("seg_loss", "box_loss", "val_seg_loss", "val_box_loss", "val_mAP50-95(M)", "val_precision(M)"),
            ((1.0, 0.5),),
        ),
    )
    assert told(arrange([one])) == [
        ("yolo: seg_loss", ["training", "validation"]),
        ("yolo: box_loss", ["training", "validation"]),
        ("yolo: mAP50-95(M)", ["validation"]),
    ]


def test_names_stay_apart():
    several = [
        curves("UNet (channels=16)", "ce"),
        curves("UNet (channels=32)", "ce"),
        curves("UNet (channels=32)", "ce", name="again", seed=0),
    ]
    assert told(arrange(several, by="loss", quantities=["mIoU"])) == [("ce: validation mIoU", ["UNet #1", "UNet #2"])]
    other = Curves(
        "later", "maskwright", Path("x"), "iteration", several[0].series, Setup("UNet", "ce", 0, "other recipe")
    )
    assert told(arrange([curves("UNet", "ce"), other], by="network", quantities=["mIoU"]))[0][1] == [
        "UNet-ce-0",
        "later",
    ]


def test_of_many_lines_the_best_are_shown():
    many = [curves(f"Net{i}", "ce", miou=(i / 20, 0.0)) for i in range(12)]
    (chart,) = arrange(many, by="loss", quantities=["mIoU"])
    assert [line.name for line in chart.lines] == [f"Net{i}" for i in range(4, 12)] and "8 best of 12" in chart.caption
    assert sorted(line.style for line in chart.lines) == list(range(8))
