"""Several processes train the model that one would, agree on when to stop, and are resumed exactly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import rounding
from maskwright.errors import SetupError
from maskwright.training.distributed.processes import ALONE, Processes

FAST = (
    "same_model",
    "same_mathematics",
    "first_gradients",
    "stopped_and_killed",
    "budgeted",
    "refused",
    "normalisation",
)


def several(folder: Path, *scenarios: str, timeout: float = 900) -> dict:
    command = [sys.executable, Path(__file__).parents[2] / "several.py", folder, *scenarios]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=os.environ | {"GOMP_SPINCOUNT": "10000"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What the fast scenarios have found: torch is imported once for all of them."""
    return several(tmp_path_factory.mktemp("several"), *FAST)


PIXELS = 4 * 32 * 32  # of a batch: the longest sum in loss, normalisation and gradients


class TestSameModel:
    """The mathematics is that of one process: shown in float64, where rounding is far below any real difference. In
    float32 only the first step can be compared (see tests/rounding.py)."""

    def bound(self, found) -> float:
        """Of the weights after 12 steps."""
        apart = rounding.apart(PIXELS, chain=2 * found["layers"], dtype=torch.float64) * found["gradient"]
        return rounding.adam(apart, lr=found["lr"], steps=12, eps=found["eps"])

    def test_weights_averages_and_buffers(self, seen):
        found = seen["same_mathematics"]
        assert found["layers"] > 10 and self.bound(found) < 1e-4 * found["lr"]
        for kind in ("model/", "average/"):
            assert found[kind]["types"] == ["torch.float64"]
            assert 0 <= found[kind]["apart"] < self.bound(found)

    def test_logs(self, seen):
        found = seen["same_mathematics"]
        apart = rounding.loss(self.bound(found), gradient=found["gradient"], parameters=found["parameters"])
        assert len(found["log1"]) == len(found["log2"]) == 6 and apart < 1e-3
        for a, b in zip(found["log1"], found["log2"], strict=True):
            assert a.keys() == b.keys()
            for key, value in a.items():
                assert b[key] == (pytest.approx(value, rel=0, abs=apart) if "loss" in key else value), key

    @pytest.mark.parametrize("heads", ["one", "two"])
    def test_the_first_loss_and_gradient(self, seen, heads):
        found = seen["first_gradients"][f"{heads} float64"]
        one, two = found["losses"]
        apart = rounding.apart(PIXELS, chain=2 * found["layers"], dtype=torch.float64)
        assert two == pytest.approx(one, rel=apart, abs=0)
        assert 0 <= found["apart"] < apart * found["largest"]

    @pytest.mark.parametrize("heads", ["one", "two"])
    def test_the_first_loss_and_gradient_in_float32(self, seen, heads):
        """Activations within rounding of a kink take another side here and there, so gradients as a whole."""
        found = seen["first_gradients"][f"{heads} float32"]
        one, two = found["losses"]
        apart = rounding.apart(PIXELS, chain=2 * found["layers"])
        assert two == pytest.approx(one, rel=apart, abs=0)
        assert 0 <= found["distance"] < (apart + rounding.kinks(PIXELS)) * found["size"]

    def test_the_log_of_float32_starts_where_that_of_one_process_does(self, seen):
        one, two = seen["same_model"]["log1"], seen["same_model"]["log2"]
        assert [(record.keys(), record["iteration"], record.get("lr")) for record in one] == [
            (record.keys(), record["iteration"], record.get("lr")) for record in two
        ]
        layers = seen["same_mathematics"]["layers"]
        assert two[0]["loss_first"] == pytest.approx(
            one[0]["loss_first"], rel=rounding.apart(PIXELS, chain=layers), abs=0
        )

    def test_all_processes_end_with_the_same_bytes(self, seen):
        first, second = seen["same_model"]["weights"]
        assert first == second

    def test_only_the_first_one_speaks_and_writes(self, seen):
        found = seen["same_model"]
        assert "trained 12 iterations" in found["said"][0] and found["said"][1] == ""
        assert found["left"] == ["run/.lock"]
        assert found["info"]["processes"] == 2


class TestStopAndKill:
    def test_a_signal_to_one_stops_all_at_the_same_step(self, seen):
        stop = seen["stopped_and_killed"]["stop"]
        assert stop["codes"] == [130, 130] and stop["step"] == 4
        assert "stopped at iteration 4 of 12, state saved" in stop["said"][0]

    @pytest.mark.parametrize(("name", "codes", "step"), [("second", [4, -9], 6), ("first", [-9, 4], 9)])
    def test_a_killed_process_ends_the_others_at_once_with_a_clear_error(self, seen, name, codes, step):
        found = seen["stopped_and_killed"][name]
        assert found["codes"] == codes and found["step"] == step
        said = found["said"][codes.index(4)]
        assert said.startswith("LostError torchrun: another process of this training has ended")
        assert "resume" in said and len(said.splitlines()) == 1
        assert found["seconds"] < 30

    def test_resumed_runs_end_with_the_same_bytes(self, seen):
        found = seen["stopped_and_killed"]
        assert len(found["whole"]) == 6
        assert found["resumed"] == found["whole"]

    def test_another_number_of_processes_goes_on_and_says_what_is_not_the_same(self, seen):
        found = seen["stopped_and_killed"]
        assert "began with 2 processes and continues with 1" in found["alone"]["said"]
        assert [record["iteration"] for record in found["alone"]["log"]] == [5, 5, 10, 10, 12, 12]
        before = [record for record in found["log"] if record["iteration"] < 9]
        assert before and found["alone"]["log"][: len(before)] == before


def test_a_budget_is_fitted_by_the_first_process_for_all(seen):
    found = seen["budgeted"]
    assert found["codes"] == [0, 0] and found["weights"][0] == found["weights"][1]
    assert found["planned"]["refits"] == found["finished"]["refits"] != []
    assert found["finished"]["iterations"] < 0.7 * found["planned"]["iterations"]
    assert abs(found["finished"]["budget"]["error"]) < 0.1
    assert found["again"] == found["result"]


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("uneven", 2, r"5 images cannot be shared evenly by 2 processes; set it to 6, or"),
        ("compiled", 2, "train.compile: a compiled model cannot be shared"),
        ("config", 2, "did you mean 'batch_size'"),
        ("taken", 2, "already exists"),
        ("other data", 3, "is not the same on .* (met by process 1, not by the first)"),
        ("no data", 3, "is not there (met by process 1, not by the first)"),
        ("spoilt", 3, "is not finite at iteration"),
    ],
)
def test_an_error_of_one_ends_all_and_is_said_once(seen, name, code, message):
    found = seen["refused"][name]
    assert found["codes"] == [code, code]
    errors = [line for said in found["said"] for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    for part in message.split(".*"):
        assert part in errors[0]


def test_results_are_printed_once(seen):
    fine = seen["refused"]["fine"]
    assert fine["codes"] == [0, 0] and fine["said"][1] == ""
    assert fine["said"][0].count('"best_val_mIoU"') == 1


def test_what_was_refused_left_nothing(seen):
    assert {"run", "run2"} & set(seen["refused"]["written"]) == {"run2"}  # a loss that runs away keeps its last state


def test_batch_normalisation_is_that_of_the_whole_batch(seen):
    """Outputs, gradients of features and parameters, running statistics; features around 20 with a spread of 3."""
    found = seen["normalisation"]
    assert len(found) == 7
    for name, ranks in found.items():
        dtype = getattr(torch, name.split()[0])
        # 24 values a channel; means, variances and outputs forward and as much backward, which lose the ratio of the
        # features to their spread; in bfloat16 only what is stored between, which is at most eight numbers a value.
        tolerance = (
            rounding.apart(1, chain=8, dtype=dtype)
            if dtype == torch.bfloat16
            else (rounding.apart(24, chain=6, dtype=dtype) * 30 / 3)
        )
        for differences in ranks:
            assert {"out", "features", "running_mean", "running_var"} < differences.keys()
            assert max(differences.values()) < tolerance, (name, differences)


class TestAlone:
    def test_nothing_is_changed(self):
        values = np.arange(3)
        part = torch.ones(2, requires_grad=True)
        assert ALONE.total(values) is values and ALONE.whole(part) is part
        assert ALONE.share("x") == "x" and ALONE.gather(1) == [1] and list(ALONE.any(True, False)) == [True, False]
        with pytest.raises(SetupError, match="as it is"), ALONE.together():
            raise SetupError("as it is")

    def test_shares_cover_everything_once(self):
        shares = [Processes(rank, 3).own(range(10)) for rank in range(3)]
        assert sorted(value for share in shares for value in share) == list(range(10))


@pytest.mark.slow
def test_three_processes_killed_at_random_end_with_the_same_bytes(tmp_path):
    found = several(tmp_path, "campaign", timeout=3000)["campaign"]
    print(found)
    assert found["mismatches"] == 0 and found["killed"] >= 40 and found["runs"] > 3
    assert set(found["codes"]) <= {-9, -15, 0, 4, 130}
    assert found["slowest"] < 30
