from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml
from pages import check_promises, read, table
from reported_run import HOSTILE, ReportedRun, write_run

from maskwright.base.storage import read_json
from maskwright.config import TrackerTerm
from maskwright.data.opening import load_dataset
from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.metrics import Interval, level_confusion
from maskwright.reporting.evaluation_summary import verdict
from maskwright.reporting.page import duration, free_page, percent, plural, score, ticked, write_page
from maskwright.reporting.writing import report
from maskwright.run import Run
from maskwright.training.tracking.delivery.cursor import Cursor
from run_folders import add_evaluation


def test_every_class_score_is_exactly_that_of_scores_json(fake):
    result = fake.evaluate()
    rows = table(read(report(fake.run)), "class", "IoU", "Dice", "precision", "recall", "mean image IoU", "true pixels")
    assert len(rows) == 4
    for cells, expected, image_iou in zip(rows, result["classes"], result["mean_image_iou"], strict=True):
        assert cells[0][0] == expected["name"]
        exact = [expected["iou"], expected["dice"], expected["precision"], expected["recall"], image_iou]
        for (text, values), value in zip(cells[1:6], exact, strict=True):
            undefined = value is None or np.isnan(value)
            assert values == ([] if undefined else [repr(value)])
            assert text == ("–" if undefined else f"{value:.3f}")
        for (text, values), kind in zip(cells[6:], ("true", "predicted"), strict=True):
            assert values == [str(expected[f"{kind}_pixels"]), repr(expected[f"{kind}_share"])]
            assert text.startswith(f"{expected[f'{kind}_pixels']:,}")


def test_the_headline_is_that_of_scores_json_beside_the_baselines(fake):
    result = fake.evaluate()
    page = read(report(fake.run))
    rows = table(page, "score", "value", "95 % interval")
    for cells, name in zip(rows, ("mIoU", "mDice", "mAcc", "aAcc"), strict=True):
        found = result["scores"][name]
        assert cells[0][0].startswith(name)
        assert cells[1][1] == [repr(found["value"])]
        assert cells[2][1] == [repr(found["low"]), repr(found["high"])]
        assert cells[3][1] == [repr(result["baselines"]["first_class"][name]["value"])]
    assert {finding["code"] for finding in result["findings"]} == {"number.few_images", "number.absent_class"}
    for finding in result["findings"]:
        assert f"{finding['severity']}: {finding['message']}; {finding['fix']}. {finding['code']}" in page.text


def test_every_other_measure_is_that_of_scores_json(fake):
    measures = fake.evaluate()["measures"]
    rows = table(read(report(fake.run)), "measure", "value", "95 % interval", "better")
    assert [
        cells[0][0].partition(measures[name]["meaning"])[0] for cells, name in zip(rows, measures, strict=True)
    ] == [name.replace("_", " ") for name in measures]
    for cells, found in zip(rows, measures.values(), strict=True):
        assert cells[1][1] == [repr(found["value"])]
        assert cells[2][1] == [repr(found["low"]), repr(found["high"])]
        assert [values for _, values in cells[4:]] == [
            [] if value is None else [repr(value)] for value in found["classes"]
        ]


def test_notes_of_an_evaluation_from_before_the_guard_are_shown(fake):
    result = fake.evaluate()
    del result["findings"]
    (fake.run / "evaluations/test-001/scores.json").write_text(json.dumps(result))
    assert all(note in read(report(fake.run)).text for note in result["notes"])


def test_the_trivial_predictions_are_named_and_the_same_one_stands_once(fake, tmp_path):
    fake.evaluate()
    assert list(Run(fake.run).evaluations()[0].trivial) == ["all pixels predicted as background"]
    counts = np.diag([1, 9, 2, 0])[None]
    found = add_evaluation(tmp_path / "other", counts, classes=fake.dataset.classes)
    assert list(found.trivial) == ["all pixels predicted as background", f"all pixels predicted as {HOSTILE}"]


@pytest.mark.parametrize(
    ("value", "low", "says"),
    [
        (0.3, 0.2, "No better"),
        (0.5, math.nan, "no interval"),
        (0.5, 0.39, "within its own uncertainty"),
        (0.5, 0.41, "whole interval"),
    ],
)
def test_the_verdict_compares_the_interval_with_the_trivial_score(tmp_path, value, low, says):
    found = add_evaluation(tmp_path / "run", np.diag([4, 3, 3])[None])
    trivial = {name: replace(scores, mIoU=0.4) for name, scores in found.baselines.items()}
    intervals = {"mIoU": Interval(value, low, 1.0)}
    found = replace(found, scores=replace(found.scores, mIoU=value), intervals=intervals, baselines=trivial)
    assert says in verdict(found) and "0.400" in verdict(found)


def test_hostile_names_are_text(fake):
    fake.evaluate()
    page = read(report(fake.run))
    assert HOSTILE in page.text and "a<b>&'" in page.text
    tags = {tag for tag, _ in page.tags}
    assert not {"script", "b"} & tags and "<script" not in page.source.lower()


def test_the_page_keeps_its_promises(fake):
    fake.evaluate()
    check_promises(read(report(fake.run)))


def test_the_best_and_the_worst_images_are_ranked_by_mean_dice(fake):
    fake.evaluate()
    page = read(report(fake.run))
    rows = [json.loads(line) for line in (fake.run / "evaluations/test-001/images.jsonl").read_text().splitlines()]
    ranked = sorted(rows, key=lambda row: (-row["mDice"], row["sample"]))
    shown = re.findall(r'<span class="title">(.*?)</span>\s*<span>mean Dice <strong><data value="(.*?)">', page.source)
    expected = [*ranked[:6], *ranked[::-1][:6]]
    assert [float(value) for _, value in shown] == [row["mDice"] for row in expected]
    assert shown[0][0] == "test/a&lt;b&gt;&amp;&#39;"  # moved by nothing, so it is the best
    assert len([1 for tag, a in page.tags if tag == "img" and "the truth" in (a["alt"] or "")]) == 12


def test_few_images_are_not_shown_twice(fake):
    fake.evaluate("val")
    page = read(report(fake.run))
    assert page.source.count('<span class="title">') == 4


def test_a_picture_is_only_shown_for_what_was_scored(fake):
    fake.evaluate()
    sample = fake.dataset.splits["test"][0]
    assert sample.mask is not None
    shutil.copy(str(fake.dataset.splits["test"][3].mask), sample.mask)
    page = read(report(fake.run))
    assert "the mask or the prediction is not the one that was scored" in page.text
    assert "The dataset has changed since training" in page.text
    assert page.source.count('class="views"') == 11


def test_without_an_evaluation_it_says_how_to_get_one(fake):
    page = read(report(fake.run))
    assert f"maskwright evaluate {fake.run} --split test" in page.text
    assert "#classes" not in page.source and "Best and worst" not in page.text
    assert "Validation IoU by class" in page.text and "80 × 60" in page.text


def test_without_the_dataset_everything_else_is_there(fake):
    result = fake.evaluate()
    shutil.rmtree(fake.data)
    page = read(report(fake.run))
    assert "The dataset cannot be read any more" in page.text
    assert table(page, "class", "IoU")[0][1][1] == [repr(result["classes"][0]["iou"])]
    assert page.source.count("No pictures: ") == 12
    assert "6 images for training, 4 images for validation" in page.text


def test_what_has_not_arrived_at_a_tracker_is_said(fake):
    run = Run(fake.run)
    run.write_config(
        run.config().model_copy(update={"trackers": [TrackerTerm(name="mlflow"), TrackerTerm(name="wandb")]})
    )
    Cursor(records=len(run.metrics.read()), finished=True, where="http://host").write(run, "mlflow")
    Cursor(problem=f"{HOSTILE} refused").write(run, "wandb")
    page = read(report(fake.run))
    check_promises(page)
    text = " ".join(page.text.split())
    assert "records delivered to http://host" in text
    assert f"wandb: 0 of {len(run.metrics.read())} records delivered ({HOSTILE} refused)" in text
    assert f"maskwright sync {fake.run} delivers the rest" in text


def test_how_well_a_budget_was_met(fake):
    assert "taken (" not in read(report(fake.run)).text
    file = fake.run / "finished.json"
    file.write_text(
        json.dumps(
            json.loads(file.read_text())
            | {
                "budget": {"seconds": 300.0, "used": 292.0, "error": 292 / 300 - 1},
                "refits": [{"iteration": 5, "iterations": 40, "evaluate_every": 10}],
            }
        )
    )
    text = read(report(fake.run)).text
    assert "5 min 00 s; 4 min 52 s taken (-2.7 %); the length was fitted again 1 time while it trained" in text


def test_an_unfinished_run_without_a_log(fake):
    (fake.run / "finished.json").unlink()
    (fake.run / "metrics.jsonl").unlink()
    page = read(report(fake.run))
    assert f"maskwright resume {fake.run}" in page.text and "Nothing has been logged yet" in page.text


def test_the_newest_evaluation_of_test_comes_first(fake):
    for split, number in (("val", 1), ("test", 1), ("test", 2), ("train", 3)):
        fake.evaluate(split, number)
    (fake.run / "evaluations" / "test-003").mkdir()  # being written
    found = [found.folder.name for found in Run(fake.run).evaluations()]
    assert found == ["test-002", "test-001", "val-001", "train-003"]
    assert "All 4 evaluations" in read(report(fake.run)).text


def test_the_data_summary_counts_pixels_by_the_splits_of_the_run(fake):
    rows = table(read(report(fake.run)), "class", "train6 masks", "val4 masks", "test15 masks")
    mask = np.concatenate([fake.dataset.read_mask(s).reshape(-1) for s in fake.dataset.splits["train"]])
    counted = mask[mask != 255]
    for index in range(4):
        share, images = rows[index][1][1]
        assert float(share) == (counted == index).mean()
        assert int(images) == sum((fake.dataset.read_mask(s) == index).any() for s in fake.dataset.splits["train"])
    assert float(rows[4][1][1][0]) == (mask == 255).mean()


def test_the_same_input_gives_the_same_bytes_but_for_the_time(fake):
    fake.evaluate()
    pages = [re.sub("<time .*?</time>", "", report(fake.run).read_text()) for _ in range(2)]
    assert pages[0] == pages[1]


def test_nothing_is_ever_overwritten(fake):
    first, second = report(fake.run), report(fake.run)
    assert [first.name, second.name] == ["report-001.html", "report-002.html"]
    before = first.read_bytes()
    with pytest.raises(ConfigError, match="never overwritten"):
        report(fake.run, out=first)
    assert first.read_bytes() == before
    first.unlink()
    assert free_page(fake.run, "report").name == "report-003.html"
    assert report(fake.run, out=fake.run / "deep" / "page.html").is_file()
    assert not list(fake.run.rglob(".partial-*"))
    with pytest.raises(ConfigError, match="never overwritten"):  # when the file has appeared in the meantime
        write_page(first.with_name("report-002.html"), "run.html.j2", {})


def test_a_folder_that_is_no_run_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="nothing to report on; give a run, a study"):
        report(tmp_path)


def test_it_needs_no_torch(fake):
    fake.evaluate()
    code = (
        "import sys; sys.modules['torch'] = None\nfrom maskwright.reporting.writing import report; from maskwright.reporting.audit_report import audit_report\n"
        f"from maskwright.data.auditing import audit\nfrom pathlib import Path\nreport({str(fake.run)!r})\n"
        f"audit_report(audit({str(fake.data)!r}), Path({str(fake.run / 'audit.html')!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert (fake.run / "audit.html").is_file()


def test_the_size_of_the_model(fake):
    page = read(report(fake.run)).text
    assert "4,189,251 parameters (16.8 MB); 1.23 billion MACs an image" in page
    assert "223 ms for 8 images, measured at the start; 346 MB of training memory" in page
    assert "of the device at most" not in page
    finished = read_json(fake.run / "finished.json")
    (fake.run / "finished.json").write_text(json.dumps(finished | {"peak_bytes": 2e9}))
    assert "2000 MB of the device at most" in read(report(fake.run)).text
    info = read_json(fake.run / "run.json")
    del info["size"]  # a run of an earlier version
    (fake.run / "run.json").write_text(json.dumps(info))
    assert "MACs an image" not in read(report(fake.run)).text


def test_numbers_as_text():
    assert score(0.12345) == '<data value="0.12345">0.123</data>'
    assert "undefined" in score(None) and "undefined" in score(np.nan)
    assert "12.3\u00a0%" in percent(0.1234) and "0.0\u00a0%" in percent(0.0)
    assert "&lt;\u00a00.1\u00a0%" in percent(0.0001)
    assert [duration(s) for s in (8.24, 185, 7620)] == ["8.2 s", "3 min 05 s", "2 h 07 min"]
    assert [plural(1, "image"), plural(1200, "class"), plural(0, "image")] == ["1 image", "1,200 classes", "0 images"]
    assert ticked("set `a: <b>` & go") == "set <code>a: &lt;b&gt;</code> &amp; go"


def test_a_tree_has_scores_shares_and_a_curve_for_each_level(fake):
    """`background`, and a group of all other classes."""
    file = fake.data / "dataset.yaml"
    description = yaml.safe_load(file.read_text())
    first, *others = description["classes"]
    file.write_text(yaml.safe_dump(description | {"classes": [first, {"name": "any <i>", "children": others}]}))
    dataset = load_dataset(fake.data)
    write_run(fake.run, fake.data, dataset)
    log = [json.loads(line) for line in (fake.run / "metrics.jsonl").read_text().splitlines()]
    (fake.run / "metrics.jsonl").write_text(
        "".join(
            json.dumps(row | ({"val_mIoU_levels": [0.75, row["val_mIoU"]]} if "val_loss" in row else {})) + "\n"
            for row in log
        )
    )
    ReportedRun(fake.run, fake.data, dataset).evaluate()
    counts = np.random.default_rng(1).integers(1, 50, (15, 4, 4))
    above = [level_confusion(counts, level) for level in dataset.classes.levels[:-1]]
    names = [sample.name for sample in dataset.splits["test"]]
    result = add_evaluation(
        fake.run, counts, classes=dataset.classes, names=names, above=above, selector="levels", incoherent=12
    ).to_dict()
    page = read(report(fake.run))
    check_promises(page)
    rows = table(page, "level", "classes", "mIoU", "95 % interval")
    for cells, found in zip(rows, result["levels"], strict=True):
        assert cells[0][0] == str(found["level"]) and cells[1][0] == str(len(found["classes"]))
        assert cells[2][1] == [repr(found["scores"]["mIoU"]["value"])]
        assert cells[3][1] == [repr(found["scores"]["mIoU"][end]) for end in ("low", "high")]
    groups = table(page, "group", "IoU")
    assert [cells[0][0] for cells in groups] == ["background", "any <i>"]
    assert [cells[1][1] for cells in groups] == [[repr(row["iou"])] for row in result["levels"][0]["classes"]]
    shares = [rows for rows in page.tables if rows[0][0][0] == "class" and rows[-1][0][0] == "any <i>"]
    assert len(shares) == 1 and len(shares[0]) == 3
    assert "Validation mIoU by level" in page.source and "levels" in page.text


def test_a_flat_list_has_nothing_about_levels(fake):
    fake.evaluate()
    page = read(report(fake.run))
    assert not any(text in page.source for text in ("Levels of the class tree", "Scores by level", "mIoU by level"))
