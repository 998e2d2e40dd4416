"""Every reader of the table: the same training from every tool, the same curves; and what is wrong, with its line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.curves.logs import LOGS, lines, mmcv, own, text
from maskwright.errors import DataError, MaskwrightError
from maskwright.evaluation.curves import READERS
from maskwright.evaluation.curves.curve import Curves
from maskwright.evaluation.curves.finding import read_curves
from maskwright.evaluation.curves.quantities import quantity


def read(path) -> Curves:
    (found,) = read_curves(path)
    return found


@pytest.fixture(params=sorted(READERS))
def tool(request) -> str:
    return request.param


def test_the_same_training_from_every_tool(tool, tmp_path):
    found = read(LOGS[tool](tmp_path / "log"))
    assert found.tool == tool and found.name == "log"
    first, last = (10.0, 20.0) if found.axis == "iteration" else (1.0, 2.0)
    loss, score = ("seg_loss", "mAP50-95(M)") if tool == "ultralytics" else ("loss", "mIoU")
    assert found.series[f"val_{score}"] == ((first, pytest.approx(0.5)), (last, pytest.approx(0.4)))
    assert found.series[loss][-2:] == ((first, 1.0), (last, 0.5))
    summary = found.summary()
    assert (summary.chosen_by, summary.best_at, summary.last_at) == (f"val_{score}", first, last)
    told = summary.values[f"val_{score}"]
    assert (told.at_best, told.last) == (pytest.approx(0.5), pytest.approx(0.4))
    assert (summary.values[loss].at_best, summary.values[loss].last) == (1.0, 0.5)
    assert ("no paired test" in summary.remark) == (tool != "maskwright")
    assert json.loads(json.dumps(summary.to_dict()))["remark"] == summary.remark


def test_the_content_decides_not_the_name(tool, tmp_path):
    folder = LOGS[tool](tmp_path / "log")
    file = next(path for path in sorted(folder.rglob("*")) if path.is_file() and READERS[tool].detect(start(path)))
    moved = file.rename(tmp_path / "anything.txt")
    assert read(moved).tool == tool


def start(path):
    from maskwright.evaluation.curves.lines import Start

    return Start.of(path)


def test_each_log_is_known_to_its_reader_alone(tool, tmp_path):
    folder = LOGS[tool](tmp_path / "log")
    known = [
        {name for name, reader in READERS.items() if reader.detect(start(path))}
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert {tool} in known and all(found <= {tool} for found in known)


def test_what_ours_says_of_itself(tmp_path):
    found = read(
        own(tmp_path / "a", loss=[{"name": "ce", "class_weights": "median_frequency"}, {"name": "dice", "weight": 3}])
    )
    assert found.setup.loss == "ce + 3 dice (ce class_weights=median_frequency)"
    assert (found.setup.network, found.setup.seed) == ("UNet", 0)
    assert found.series["val_IoU.tree (old)"] == ((10.0, 0.5), (20.0, 0.4)) and "loss_max" not in found.series
    same, other = read(own(tmp_path / "b", seed=1)), read(own(tmp_path / "c", model="SegNet"))
    assert read(own(tmp_path / "d")).setup.recipe == same.setup.recipe != other.setup.recipe


def test_a_recipe_is_the_one_of_compare(tmp_path):
    """Of a budget the length follows from the machine, and a resolved config no longer says that there was one."""
    from maskwright.base.storage import atomic_write_json
    from maskwright.run import Run

    found = []
    for seed, iterations in enumerate((40, 48)):
        run = Run(own(tmp_path / f"{seed}", seed=seed))
        config = run.config()
        run.write_config(
            config.model_copy(
                update={
                    "train": config.train.model_copy(
                        update={"iterations": iterations, "precision": ("float32", "bfloat16")[seed]}
                    )
                }
            )
        )
        atomic_write_json(run.info_file, run.info() | {"budget": {"seconds": 60.0}})
        assert read(run.path).setup.recipe == run.recipe()
        found.append(run)
    assert found[0].recipe() == found[1].recipe()
    atomic_write_json(found[1].info_file, found[1].info() | {"budget": {"seconds": 90.0}})
    assert found[0].recipe() != found[1].recipe()


def test_an_iteration_begins_anew_in_each_epoch(tmp_path):
    file = lines(
        tmp_path / "a.log.json",
        *({"mode": "train", "epoch": epoch, "iter": at, "loss": 1.0} for epoch in (1, 2) for at in (5, 10)),
        {"mode": "val", "epoch": 2, "iter": 31, "mIoU": 0.5},
    )
    found = read(file)
    assert found.axis == "epoch" and [x for x, _ in found.series["loss"]] == [0.5, 1.0, 1.5, 2.0]
    assert found.series["val_mIoU"] == ((2.0, 0.5),) and "taken to be as long" in found.notes[0]


def test_mmengine_by_epoch(tmp_path):
    file = lines(
        tmp_path / "s.json",
        {"loss": 1.0, "iter": 10, "epoch": 1, "step": 10},
        {"mIoU": 50.0, "step": 1},
        {"loss": 0.5, "iter": 20, "epoch": 2, "step": 20},
        {"mIoU": 60.0, "step": 2},
    )
    assert read(file).series["val_mIoU"] == ((10.0, 0.5), (20.0, 0.6))


def test_per_cent_are_said_and_accuracies_of_training_too(tmp_path):
    found = read(LOGS["mmengine"](tmp_path / "e"))
    assert found.series["val_aAcc"][0] == (10.0, 0.9) and "per cent" in found.notes[0]
    assert found.series["decode.acc_seg"][0] == (5.0, 0.8)
    found = read(mmcv(tmp_path / "m"))
    assert found.series["val_aAcc"][0] == (10.0, 0.9) and found.notes == ()
    assert found.series["decode.acc_seg"][0] == (5.0, 0.8) and found.series["val_IoU.road"][1] == (20.0, 0.4)


def test_a_step_that_was_logged_again_counts_once(tmp_path):
    file = lines(
        tmp_path / "s.json",
        *({"loss": loss, "iter": at, "step": at} for at, loss in ((10, 3.0), (20, 2.0), (20, 1.5), (30, 1.0))),
    )
    assert read(file).series["loss"] == ((10.0, 3.0), (20.0, 1.5), (30.0, 1.0))


def test_values_that_are_not_finite_are_gaps(tmp_path):
    file = text(
        tmp_path / "s.json",
        '{"loss": NaN, "iter": 1, "step": 1}\n{"loss": 1e999, "iter": 2, "step": 2}\n'
        '{"loss": 1, "iter": 3, "step": 3}\n',
    )
    assert read(file).series["loss"] == ((1.0, None), (2.0, None), (3.0, 1.0))
    file = text(tmp_path / "m.csv", "step,loss\n1,nan\n2,-inf\n3,1\n")
    assert read(file).series["loss"] == ((1.0, None), (2.0, None), (3.0, 1.0))


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("train_loss", "loss"),
        ("Loss/val", "val_loss"),
        ("valid/mean_iou", "val_mIoU"),
        ("val_MIoU", "val_mIoU"),
        ("test/Mean Dice", "test_mDice"),
        ("iou", "iou"),
        ("train/decode.loss_ce", "decode.loss_ce"),
        ("validation-pixel_accuracy", "val_aAcc"),
        ("learning_rate", "lr"),
        ("valve_loss", "valve_loss"),
    ],
)
def test_names(tag, name):
    assert quantity(tag) == name


def test_two_tags_of_one_name_stay_two(tmp_path):
    found = read(text(tmp_path / "m.csv", "step,train_loss,training/loss\n1,2,3\n"))
    assert found.series["loss"] == ((1.0, 2.0),) and found.series["training/loss"] == ((1.0, 3.0),)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("s.json", '{"loss": 1, "iter": 1, "step": 1}\n{"loss": \n{"loss": 1}\n', "s.json:2: not valid JSON"),
        ("s.json", '{"loss": 1, "iter": 1, "step": 1}\n[1]\n', "s.json:2: list where an object"),
        ("s.json", '{"loss": 1, "iter": -1, "step": 1}\n', "s.json:1: 'iter' is -1 where a number from 0"),
        ("s.json", '{"loss": 1, "iter": true, "step": 1}\n', "s.json:1: 'iter' is True"),
        ("s.json", '{"loss": 1, "iter": 1e300, "step": 1}\n', "s.json:1: 'iter' is 1e\\+300"),
        ("s.json", '{"step": 1, "mIoU": 101}\n', "mIoU, mDice, mAcc or aAcc is 101"),
        ("s.json", '{"step": 1, "mIoU": -0.5}\n', "mIoU, mDice, mAcc or aAcc is -0.5"),
        ("s.json", '{"step": 1}\n', "holds no numbers"),
        ("a.log.json", '{"mode": "train", "epoch": 1, "loss": 1}\n', "a.log.json:1: 'iter' is None"),
        (
            "a.log.json",
            '{"mode": "train", "epoch": 1, "iter": 1, "decode.acc_seg": 120}\n',
            "a.log.json:1: .* per cent",
        ),
        ("m.csv", "step,loss\n1,2\n2,x\n3,4\n", "m.csv:3: column 'loss': 'x' is not a number"),
        ("m.csv", "step,loss\n1,2,3\n2,3\n", "m.csv:2: 3 cells where the header has 2"),
        ("m.csv", "step,loss,loss\n1,2,3\n", "m.csv:1: the column 'loss' stands there twice"),
        ("m.csv", "step,loss\n,2\n3,4\n", "m.csv:2: 'step' is None"),
        ("m.csv", 'step,loss\n1,"2\n', "m.csv:.: not valid CSV"),
        ("m.csv", "step,loss\n", "holds no numbers"),
        ("results.csv", "epoch,train/seg_loss\nnan,2\n3,4\n", "results.csv:2: 'epoch' is None"),
        ("anything", "hello\n", "not a log that is known; read are a run folder"),
        ("anything", "", "not a log that is known"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, name, content, said):
    with pytest.raises(DataError, match=said) as caught:
        read_curves(text(tmp_path / name, content))
    assert "\n" not in str(caught.value)


def test_a_torn_last_line_is_left_out(tmp_path):
    assert (
        len(read(text(tmp_path / "s.json", '{"loss": 1, "iter": 1, "step": 1}\n{"loss": 1, "it')).series["loss"]) == 1
    )
    assert len(read(text(tmp_path / "m.csv", "step,loss,lr\n1,2,1\n2,3")).series["loss"]) == 1


def test_bytes_that_are_no_text(tmp_path):
    file = tmp_path / "m.csv"
    file.write_bytes(b"step,loss\n1,\xff\n")
    with pytest.raises(DataError, match="not text in UTF-8"):
        read_curves(file)


VALUES = st.one_of(
    st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=3)
)
KEYS = st.sampled_from(
    ["iteration", "iter", "step", "epoch", "mode", "loss", "val_loss", "mIoU", "val_iou", "decode.acc_seg"]
)


@settings(max_examples=50)
@given(st.lists(st.dictionaries(KEYS, VALUES | st.sampled_from(["train", "val"])), max_size=6))
def test_any_json_lines_are_read_or_refused(tmp_path_factory, records):
    file = tmp_path_factory.getbasetemp() / "fuzz.json"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    for reader in READERS.values():
        try:
            assert reader.read(file).series
        except MaskwrightError as error:
            assert str(file) in str(error)


@given(st.binary(max_size=200), st.sampled_from(["lightning", "ultralytics", "mmcv", "mmengine", "maskwright"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, data, tool):
    file = tmp_path_factory.getbasetemp() / "fuzz.log"
    file.write_bytes(b"step,epoch,loss\n" + data if tool in ("lightning", "ultralytics") else data)
    try:
        assert READERS[tool].read(file).series
    except DataError as error:
        assert str(file) in str(error)
