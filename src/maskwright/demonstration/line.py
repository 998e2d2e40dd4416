"""The verb `demo`: the whole line on generated data, each step being the verb that a user would run."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maskwright.auditing import audit
from maskwright.auditing import human as audit_text
from maskwright.core.progress import progress, say
from maskwright.core.storage import require_absent
from maskwright.demonstration.generator import generate
from maskwright.formats.opening import init
from maskwright.planning import plan
from maskwright.prediction.evaluate import evaluate
from maskwright.prediction.predict import predict
from maskwright.prediction.scoring import human as scores_text
from maskwright.reporting import report
from maskwright.training.train import train


@dataclass(frozen=True)
class Demo:
    """Where everything is, what was planted, and the test scores."""

    folder: Path
    run: Path
    report: Path
    planted: list[dict[str, Any]]
    scores: dict[str, Any]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def human(self) -> str:
        """The end of the tour."""
        return (
            f"done in {self.seconds:.0f} s; test mIoU {self.scores['mIoU']['value']:.3f} "
            f"[{self.scores['mIoU']['low']:.3f}, {self.scores['mIoU']['high']:.3f}]\n"
            f"{len(self.planted)} training masks were planted wrong: {self.folder / 'data' / 'planted.json'}\n"
            f"report: {self.report}"
        )


def demo(out: str | Path = "demo", *, budget: str = "200s", images: int = 200) -> Demo:
    """Generates a dataset (two animals, `images` pictures of 256x256, 15 masks planted wrong) and runs init,
    audit, plan, train, evaluate, predict and report on it. `out` must not exist; `budget` is the training's
    wall time.
    """
    began = time.monotonic()
    folder = require_absent(Path(out))
    data, config, run_folder = folder / "data", folder / "run.yaml", folder / "run"
    say(f"demo folder: {folder}")
    with progress("drawing", images) as advance:
        planted = generate(data, images=images, progress=lambda done, _: advance(done))
    _step("init", data)
    init(data)
    _step("audit", data)
    say(audit_text(audit(data)))
    _step("plan", data, "-o", config, "--budget", budget)
    plan(data, out=config, budget=budget)
    _step("train", config, "--out", run_folder)
    run = train(config, out=run_folder)
    _step("evaluate", run_folder)
    result = evaluate(run)
    say(scores_text(result))
    _step("predict", run_folder, data / "img" / "test", "--out", folder / "predictions")
    predict(run, [data / "img" / "test"], out=folder / "predictions")
    _step("report", run_folder)
    page = report(run)
    return Demo(
        folder, run.path, page, [asdict(item) for item in planted], result.to_dict()["scores"], time.monotonic() - began
    )


def _step(*words: str | Path) -> None:
    say(f"\n$ maskwright {shlex.join(map(str, words))}")
