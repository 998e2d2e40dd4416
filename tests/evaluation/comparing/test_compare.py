"""The verb `compare` on run folders: what it finds, ranks, refuses, chooses and says."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from maskwright.base.storage import atomic_write_json, dump_json, read_json
from maskwright.cli import main
from maskwright.core.findings import Finding, Severity
from maskwright.errors import ConfigError, DataError
from maskwright.evaluation.comparing import compare
from maskwright.evaluation.comparing.members import members_of, recipe_name, recipes
from maskwright.evaluation.metrics import mIoU, scores, thresholded_iou
from maskwright.evaluation.metrics.scores import iou_where_true
from maskwright.evaluation.run_folders import find_runs
from maskwright.run import Run
from nested import nested
from run_folders import GARDEN, add_evaluation, predict, trained_run, truth

TRUE = truth(40)


def add(folder, name, quality, number=1, true=TRUE, **facts):
    run = trained_run(folder / name, **facts)
    add_evaluation(run, predict(true, quality, number))
    return run.path


@pytest.fixture
def study(tmp_path):
    """Two networks x two losses x two seeds below STUDY/runs; the losses do not matter, the networks do."""
    for m, (model, quality) in enumerate((("UNet", 0.85), ("SegNet", 0.7))):
        for n, loss in enumerate(("ce", "ce+dice")):
            for seed in range(2):
                add(
                    tmp_path / "study/runs",
                    f"{model}-{loss}-seed{seed}".lower(),
                    quality + 0.002 * seed,
                    8 * m + 2 * n + seed,
                    model=model,
                    loss=loss,
                    seed=seed,
                    macs=(2 - m) * 1e9,
                )
    (tmp_path / "study/study.yaml").write_text("{}")
    return tmp_path / "study"


def test_the_board_of_a_study(study):
    result = compare(study)
    assert [entry.name for entry in result.entries[2:]] in (
        ["segnet-ce", "segnet-ce+dice"],
        ["segnet-ce+dice", "segnet-ce"],
    )
    values = [entry.score.value for entry in result.entries]
    assert values == sorted(values, reverse=True) and len(result.pairs) == 6
    best, second, *others = result.entries
    assert (best.against_best, second.against_best, [one.against_best for one in others]) == (
        None,
        "not distinguishable",
        ["worse"] * 2,
    )
    assert all(result.pair(best.name, one.name).verdict == "better" for one in others)
    assert result.pair(others[0].name, others[1].name).verdict == "not distinguishable"
    assert result.seed_freedom == 4 and best.seeds == [0, 1] and len(best.runs) == 2


def test_its_numbers_are_those_of_the_evaluations(study):
    for entry in compare(study, score="mDice").entries:
        counts = [np.load(folder / "confusions.npy") for folder in entry.evaluations]
        totals = [scores(one.sum(0), GARDEN) for one in counts]
        assert entry.seed_scores == pytest.approx([total.mDice for total in totals])
        assert (
            entry.score.value == pytest.approx(np.mean(entry.seed_scores))
            and entry.score.low < entry.score.value < entry.score.high
        )
        assert entry.scores == pytest.approx(
            {name: np.mean([getattr(total, name) for total in totals]) for name in ("mIoU", "mDice", "mAcc", "aAcc")}
            | {
                name: np.mean([np.nanmean(np.nanmean(of_images(one), 0)) for one in counts])
                for name, of_images in (
                    ("mean_image_iou", iou_where_true),
                    ("mean_image_thresholded_iou", thresholded_iou),
                )
            }
        )
        assert entry.class_iou == pytest.approx(np.mean([[row.iou for row in total.classes] for total in totals], 0))
        costs = entry.costs
        assert costs.macs == 1000 * costs.parameters and costs.step_seconds == 0.1 and costs.train_seconds == 30
        assert costs.images_per_second == pytest.approx(40) and costs.waited == 0 and entry.val_mIoU == 0.7
    first, second = compare(study).entries[:2]
    images = [
        np.mean([mIoU(np.load(folder / "confusions.npy")) for folder in entry.evaluations], 0)
        for entry in (first, second)
    ]
    assert first.image_scores == pytest.approx(images[0])
    pair = compare(study).pair(first.name, second.name)
    assert (pair.images_higher, pair.images_lower) == ((images[0] > images[1]).sum(), (images[0] < images[1]).sum())


def test_networks_against_losses(study):
    result = compare(study)
    assert set(result.matrix.rows) == {"UNet", "SegNet"} and set(result.matrix.columns) == {"ce", "ce + dice"}
    cell = result.matrix.cells[result.matrix.rows.index("SegNet")][result.matrix.columns.index("ce + dice")]
    assert cell == "segnet-ce+dice" and set(result.config) == {"model.name", "loss"}
    assert result.config["model.name"] == [entry.model for entry in result.entries]
    add(study / "runs", "unet-fast", 0.8, 77, config={"optimizer": {"name": "sgd", "lr": 0.1}})
    with_rate = compare(study)
    assert with_rate.matrix is None and {"optimizer.name", "optimizer.lr"} <= set(with_rate.config)


def test_a_cheaper_one_that_is_not_distinguishable_is_proposed(tmp_path):
    add(tmp_path, "large", 0.8, 1, macs=4e9)
    add(tmp_path, "small", 0.799, 2, macs=1e9, model="SegNet")
    add(tmp_path, "tiny", 0.6, 3, macs=1e8, model="UNet2")
    choice = compare(tmp_path).choice
    assert (choice.best, choice.proposed) == ("large", "small") and "25 % of the MACs" in choice.reason
    assert "not distinguishable" in choice.reason and choice.on == "test"
    cheap = compare([tmp_path / "small", tmp_path / "tiny"]).choice
    assert cheap.proposed == "small" and "better than the other" in cheap.reason
    shutil.rmtree(tmp_path / "large")
    add(tmp_path, "large", 0.8, 1, macs=1e9)
    assert "no equal model needs less compute" in compare([tmp_path / "large", tmp_path / "small"]).choice.reason


def test_choosing_on_val(tmp_path):
    """By the logs where val is not evaluated, else by the evaluations; the guard remarks the choice on test only."""
    one, other = add(tmp_path, "one", 0.8, 1, val=0.6), add(tmp_path, "other", 0.7, 2, val=0.65, model="UNet2")
    assert "number.chosen_on_scored" in [f.code for f in compare(tmp_path).findings]
    by_log = compare(tmp_path, select="val")
    assert (by_log.choice.best, by_log.choice.on, by_log.findings) == ("other", "val", [])
    assert "training logs (0.6500)" in by_log.choice.reason and by_log.entries[0].name == "one"
    for path, quality in ((one, 0.6), (other, 0.9)):
        add_evaluation(path, predict(truth(30, 1), quality, 5), split="val")
    scored = compare(tmp_path, select="val")
    assert scored.choice.best == "other" and "best mIoU of val" in scored.choice.reason and scored.findings == []
    with pytest.raises(DataError, match="`select` extra: not all runs are evaluated"):
        compare(tmp_path, select="extra")
    for path in (one, other):
        (path / "metrics.jsonl").unlink()
        shutil.rmtree(path / "evaluations/val-001")
    with pytest.raises(ConfigError, match="one, other has no validation scores"):
        compare(tmp_path, select="val")


def test_clean_runs_raise_no_alarm(study):
    assert compare(study, select="val").findings == []


def test_the_traps_of_a_comparison_are_seen(tmp_path):
    add(tmp_path, "one", 0.8, 1)
    add(tmp_path, "slow", 0.8, 2, model="UNet2", waited=0.2)
    add(tmp_path, "gpu", 0.8, 3, model="UNetFCN", info={"device": "cuda"})
    add_evaluation(add(tmp_path, "newer", 0.8, 4, model="SegNet"), predict(TRUE, 0.8, 5), number=2, version="v2")
    codes = {finding.code: finding for finding in compare(tmp_path, select="val").findings}
    assert set(codes) == {"number.version", "number.other_version", "number.loading", "number.other_machine"}
    assert codes["number.loading"].evidence["runs"][1] == "slow" and codes["number.version"].evidence["runs"] == [
        "newer"
    ]


def test_other_images_or_another_truth_are_not_compared(tmp_path):
    for number, name in enumerate(("one", "two")):
        add(tmp_path, name, 0.8, number, model=("UNet", "SegNet")[number])
    add_evaluation(trained_run(tmp_path / "fewer", model="SegNet"), predict(TRUE[:30], 0.9, 5))
    add(tmp_path, "other_truth", 0.99, 6, true=truth(40, 9), model="SegNet")
    result = compare(tmp_path)
    assert sorted(result.apart) == ["fewer", "other_truth"] and len(result.entries) == 2
    found = [f for f in result.findings if f.code == "number.other_images"]
    assert len(found) == 2 and "but not the ground-truth masks" in " ".join(f.message for f in found)
    assert "not compared: fewer" in result.human()


def test_what_is_not_evaluated_is_named_with_the_command(tmp_path):
    add(tmp_path, "one", 0.8)
    late = trained_run(tmp_path / "a late one").path
    result = compare(tmp_path)
    assert result.missing == {str(late): f"maskwright evaluate '{late}' --split test"}
    assert (
        result.choice is None
        and result.pairs == []
        and f"not evaluated: maskwright evaluate '{late}'" in result.human()
    )
    with pytest.raises(DataError, match="not evaluated on 'val'; first `maskwright evaluate"):
        compare(tmp_path, split="val")
    with pytest.raises(ConfigError, match="did you mean 'mIoU'"):
        compare(tmp_path, score="mIOU")


def test_the_newest_evaluation_counts(tmp_path):
    path = add(tmp_path, "one", 0.5)
    folder = add_evaluation(path, predict(TRUE, 0.9, 3), number=2).folder
    (path / "evaluations/test-010").mkdir()  # not finished
    assert compare(tmp_path).entries[0].evaluations == [folder]


def test_counts_that_do_not_belong_to_the_scores_are_refused(tmp_path):
    path = add(tmp_path, "one", 0.5)
    file = path / "evaluations/test-001/confusions.npy"
    np.save(file, np.zeros((3, 3, 3), np.int64))
    with pytest.raises(DataError, match=r"not the counts of 40 images and 3 classes"):
        compare(tmp_path)
    file.write_bytes(b"no array")
    with pytest.raises(DataError, match="cannot be read"):
        compare(tmp_path)


def test_runs_are_found_three_levels_deep(study, tmp_path):
    assert len(find_runs([study])[0]) == len(find_runs([study, study / "runs", study / "runs/unet-ce-seed0"])[0]) == 8
    (study / "runs/.partial-1-x").mkdir()
    shutil.copytree(study / "runs/unet-ce-seed0", study / "runs/.partial-1-x/run")
    assert len(find_runs([study])[0]) == 8
    assert len(find_runs([tmp_path])[0]) == 8
    study = shutil.move(study, tmp_path / "above/study")
    assert find_runs([tmp_path]) == ([], [tmp_path])
    with pytest.raises(DataError, match="neither a run nor a study, or no log"):
        compare([tmp_path])
    with pytest.raises(DataError, match="absent"):
        compare([study, tmp_path / "absent"])


def test_logs_of_other_tools_stand_beside_runs(study, tmp_path):
    log = tmp_path / "other/metrics.csv"
    log.parent.mkdir()
    log.write_text("epoch,step,train_loss,val_mIoU\n0,9,0.5,\n0,9,,0.7\n1,19,0.4,\n1,19,,0.6\n")
    result = compare([study, log])
    assert len(result.entries) == 4 and [one.name for one in result.others] == ["other"]
    assert result.to_dict()["others"][0]["values"]["val_mIoU"] == {"at_best": 0.7, "last": 0.6}
    assert re.search(
        r"other tool: other: val_mIoU 0.7000 at .*, 0.6000 at the end \(lightning: .*no paired test\)", result.human()
    )
    with pytest.raises(DataError, match="no run of maskwright"):
        compare(log)


def test_masks_of_another_tool_stand_beside_runs(tmp_path):
    add(tmp_path, "one", 0.8)
    add_evaluation(tmp_path / "theirs", predict(TRUE, 0.6, 3))
    result = compare([tmp_path / "one", tmp_path / "theirs"], select="test")
    assert [(entry.name, entry.model, entry.seeds) for entry in result.entries] == [
        ("one", "UNet", [0]),
        ("theirs", "", [None]),
    ]
    assert "number.unknown_training" in [f.code for f in result.findings] and "theirs" in result.human()


def grouped(folder):
    members, _ = members_of([Run(path) for path in sorted(folder.iterdir())], "test")
    return [[member.name for member in group] for group in recipes(members)]


def test_what_makes_two_runs_one_entry(tmp_path):
    add(tmp_path, "a-seed1", 0.8, seed=1)
    add(tmp_path, "a-seed2", 0.8, seed=2, config={"train": {"iterations": 20, "batch_size": 4, "threads": 1}})
    add(tmp_path, "b", 0.8, seed=1)  # the same training once more is no other seed
    add(tmp_path, "c", 0.8, seed=3, info={"dataset": {"name": "garden", "root": "/data", "version": "v2"}})
    assert grouped(tmp_path) == [["a-seed1", "a-seed2"], ["b"], ["c"]]
    assert compare([tmp_path / "a-seed1", tmp_path / "a-seed2"]).entries[0].varied == ["train.threads"]


def test_a_budget_may_give_seeds_other_lengths(tmp_path):
    for seed, iterations in enumerate((20, 24)):
        for name, info in (("fixed", {}), ("budget", {"budget": {"seconds": 60.0}})):
            add(
                tmp_path,
                f"{name}-{seed}",
                0.8,
                seed=seed,
                info=info,
                config={"train": {"iterations": iterations, "batch_size": 4}},
            )
    assert grouped(tmp_path) == [["budget-0", "budget-1"], ["fixed-0"], ["fixed-1"]]


def test_seeds_from_two_mounts_are_one_entry(tmp_path):
    """A dataset is what it holds. So it is for curves, which have the same definition of a recipe."""
    for seed, root in ((1, "/mnt/a/data"), (2, "/mnt/b/copy")):
        add(
            tmp_path,
            f"a-seed{seed}",
            0.8,
            seed=seed,
            config={"data": {"root": root, "image_size": [32, 32]}},
            info={"dataset": {"name": Path(root).name, "root": root, "version": "v1"}},
        )
    add(tmp_path, "other", 0.8, seed=3, info={"dataset": {"name": "garden", "root": "/data", "version": "v2"}})
    assert grouped(tmp_path) == [["a-seed1", "a-seed2"], ["other"]]
    assert Run(tmp_path / "a-seed1").recipe() == Run(tmp_path / "a-seed2").recipe() != Run(tmp_path / "other").recipe()
    assert len(compare([tmp_path / "a-seed1", tmp_path / "a-seed2"]).entries) == 1


def test_runs_are_in_the_order_of_their_numbers(tmp_path):
    for name in ("run-1000", "run-999", "run-2"):
        add(tmp_path, name, 0.8)
    assert [run.path.name for run in find_runs([tmp_path])[0]] == ["run-2", "run-999", "run-1000"]


def test_a_copy_of_the_data_elsewhere_is_no_difference_between_settings(tmp_path):
    for model, root in (("UNet", "/mnt/a"), ("SegNet", "/mnt/b")):
        for loss in ("ce", "ce+dice"):
            add(
                tmp_path,
                f"{model}-{loss}",
                0.8,
                model=model,
                loss=loss,
                config=None,
                info={"dataset": {"name": "data", "root": root, "version": "v1"}},
            )
            file = tmp_path / f"{model}-{loss}" / "config.yaml"
            file.write_text(file.read_text().replace("/data", root))
    found = compare(tmp_path)
    assert set(found.config) == {"model.name", "loss"} and found.matrix is not None


def test_what_holds_nothing_is_no_value(tmp_path):
    for model, arguments in (("SegNet", {}), ("UNet", {"dropout": 0.1})):
        file = add(tmp_path, model, 0.8, model=model) / "config.yaml"
        config = yaml.safe_load(file.read_text())
        config["model"] = {"name": model, "args": arguments}
        file.write_text(yaml.safe_dump(config))
    assert {key: values for key, values in compare(tmp_path).config.items() if key != "model.name"} in (
        {"model.args.dropout": [None, 0.1]},
        {"model.args.dropout": [0.1, None]},
    )


def test_names_of_entries(tmp_path):
    paths = [add(tmp_path, f"{place}/run", 0.8, model={"a": "UNet", "b": "SegNet"}[place]) for place in ("a", "b")]
    assert sorted(entry.name for entry in compare(paths).entries) == ["a/run", "b/run"]
    members, _ = members_of([Run(add(tmp_path, name, 0.8)) for name in ("unet_s1", "unet_s2", "x1", "y1")], "test")
    assert (
        recipe_name(members[:1]) == "unet_s1"
        and recipe_name(members[:2]) == "unet"
        and recipe_name(members[2:]) == "x1"
    )


def test_what_limits_the_result_is_said(tmp_path):
    few = truth(5)
    for number, name in enumerate(("one", "two")):
        add(tmp_path, name, 0.8 - 0.3 * number, number, true=few, model=("UNet", "SegNet")[number])
    result = compare(tmp_path)
    assert result.pairs[0].verdict == "not distinguishable" and result.seed_sd is None
    once, fewer = result.notes
    assert "trained once" in once and "5 images are too few to show any difference in 1 comparison" in fewer


def test_a_single_image(tmp_path):
    for number, name in enumerate(("one", "two")):
        add(
            tmp_path,
            name,
            0.8 - 0.3 * number,
            number,
            true=truth(1),
            model=("UNet", "SegNet")[number],
            macs=1e9 / (1 + number),
        )
    result = compare(tmp_path)
    assert result.choice.proposed == "one" and "one is not distinguishable" in result.choice.reason and result.human()
    document = json.loads(dump_json(result.to_dict()))
    assert document["pairs"][0]["difference"]["low"] is None and document["entries"][0]["score"]["low"] is None
    assert result.findings[0].code == "number.one_image" and result.findings[1].evidence["optimism"] is None


def test_the_command_line(study, capsys):
    main_exits(["compare", str(study)])
    text = capsys.readouterr().out
    result = compare(study)
    for entry in result.entries:
        assert f"{entry.score.value:.4f}" in text and f"[{entry.score.low:.4f}, {entry.score.high:.4f}]" in text
    for part in (
        f"choice: {result.choice.proposed}",
        result.choice.reason,
        "mIoU by model and loss",
        "IoU by class",
        "random seed variation: mIoU varies by",
        "warning: the best is chosen",
    ):
        assert part in text
    main_exits(["compare", str(study), "--json", "--score", "mDice", "--select", "val"])
    document = json.loads(capsys.readouterr().out)
    assert (document["split"], document["images"], document["score"]) == ("test", 40, "mDice")
    assert [row["rank"] for row in document["entries"]] == [1, 2, 3, 4] and len(document["pairs"]) == 6
    assert {"value", "low", "high"} == set(document["pairs"][0]["difference"]) == set(document["entries"][0]["score"])
    main_exits(["compare", str(study / "study.yaml")], 3)
    assert "study.yaml: not a log that is known" in capsys.readouterr().err


def main_exits(arguments, code=0):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == code


def test_it_needs_no_torch(study):
    code = (
        f"import sys, maskwright; maskwright.compare({str(study)!r}); "
        "sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_size_in_run_json_is_taken_where_the_evaluation_has_none(tmp_path):
    path = add(tmp_path, "one", 0.8, macs=5e9)
    assert compare(tmp_path).entries[0].costs.macs == 5e9
    file = path / "evaluations/test-001/scores.json"
    atomic_write_json(file, read_json(file) | {"size": {"macs": 7e9}})
    assert compare(tmp_path).entries[0].costs.macs == 7e9


def test_the_leaderboard_and_the_pairs_are_tables(study):
    result = compare(study)
    table = result.to_pandas()
    assert table["rank"].tolist() == [1, 2, 3, 4] and table["name"].tolist() == [entry.name for entry in result.entries]
    assert table["mIoU"].tolist() == [entry.score.value for entry in result.entries]
    assert table["against_best"].tolist() == ["best", *(entry.against_best for entry in result.entries[1:])]
    assert math.isnan(table["p_against_best"][0])
    best = result.entries[0].name
    assert table["p_against_best"][3] == result.pair(best, result.entries[3].name).p_corrected
    for index, name in enumerate(result.classes):
        assert table[f"IoU.{name}"].tolist() == [entry.class_iou[index] for entry in result.entries]
    pairs = result.to_pandas("pairs")
    assert len(pairs) == 6 and pairs["difference"].tolist() == [pair.difference.value for pair in result.pairs]
    assert pairs["verdict"].tolist() == [pair.verdict for pair in result.pairs]
    with pytest.raises(ConfigError, match="'entries' or 'pairs'"):
        result.to_pandas("seeds")


def test_a_comparison_in_one_line_and_in_usual_words(study):
    result = compare(study)
    assert result.entries[0].name in repr(result) and len(repr(result)) < 250 and "\n" not in repr(result)
    assert str(result) == result.human() and result.entries[0].name in result._repr_html_()
    text = result.human()
    assert "compared with the best" in text and "significantly worse" in text and "random seed variation" in text
    assert not any(word in text for word in ("luck", "beside", "cheaper", "told"))


def test_a_finding_about_some_runs_names_them(study):
    result = compare(study)
    names = [path.name for path in sorted((study / "runs").iterdir())]
    finding = Finding("number.few_images", Severity.WARNING, "too few", "score more", evidence={"runs": names[:1]})
    shown = replace(result, findings=[finding, replace(finding, evidence={"runs": names})]).human()
    assert f"warning: {names[0]}: too few" in shown and "warning: too few" in shown
    others = [replace(finding, message=f"too few, {name}", evidence={"runs": [name]}) for name in names]
    shown = replace(result, findings=(*others, finding)).human().splitlines()
    (line,) = (line for line in shown if "too few" in line)
    also = ", ".join([*names[1:], names[0]][:3])
    assert line.startswith(f"warning: {names[0]}: too few, {names[0]} (likewise {also}")


def test_of_a_class_tree_each_level_has_its_score(tmp_path):
    tree = nested(("ground",), ("plant", "tree"), ("plant", "bush"))
    counts = predict(truth(12), 0.7, 1)
    above = np.zeros((12, 2, 2), np.int64)  # ground, and the two plants as one
    for i, j in np.ndindex(3, 3):
        above[:, min(i, 1), min(j, 1)] += counts[:, i, j]
    run = trained_run(tmp_path / "run", info={"classes": tree.to_dict()})
    add_evaluation(run, counts, classes=tree, above=[above])
    (entry,) = compare(tmp_path).entries
    assert [*entry.scores] == [
        *("mIoU", "mDice", "mAcc", "aAcc", "mIoU_level_1", "mean_image_iou", "mean_image_thresholded_iou")
    ]
    assert entry.scores["mIoU_level_1"] == pytest.approx(float(mIoU(above.sum(0))))
    assert entry.scores["mIoU_level_1"] > entry.score.value, "trees taken for bushes are plants all the same"
    assert "mIoU level 1" in compare(tmp_path).human()
