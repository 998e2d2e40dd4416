"""The verb `demo`: the whole line on generated data, each step being the verb that a user would run."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from maskwright.base.progress import progress, say
from maskwright.base.storage import require_absent
from maskwright.base.systems import require_posix
from maskwright.config import seconds_argument
from maskwright.data.auditing import audit
from maskwright.data.init import init
from maskwright.demonstration.generator import Planted, generate
from maskwright.evaluation.scoring.evaluate import evaluate
from maskwright.inference.predict import predict
from maskwright.reporting.writing import report
from maskwright.training.plan import plan
from maskwright.training.train import train
from maskwright.verbs.suspects import suspects

_SEARCH = 0.4  # of the time for training


@dataclass(frozen=True)
class Demo:
    """Where everything is, what was planted, and the test scores."""

    folder: Path
    run: Path
    report: Path
    planted: list[dict[str, Any]]
    found: int
    suspects: Path
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
            f"{len(self.planted)} training masks were planted wrong ({self.folder / 'data' / 'planted.json'}), and "
            f"{self.found} of the first {2 * len(self.planted)} suspects are among them: {self.suspects}\n"
            f"report: {self.report}"
        )


def demo_data(
    out: str | Path, *, subject: str = "animals", images: int = 200, size: int = 256, planted: int = 15, seed: int = 0
) -> list[Planted]:
    """Writes the generated dataset of `demo` into the folder `out`, with its dataset.yaml; returns which training masks
    were planted wrong. The arguments are those of `generate`, which also says what is raised."""
    folder = Path(out)
    say(f"data folder: {folder}")
    with progress("drawing", images) as advance:
        wrong = generate(
            folder,
            images=images,
            size=size,
            planted=planted,
            seed=seed,
            subject=subject,
            progress=lambda done, _: advance(done),
        )
    _step("init", folder)
    init(folder)
    return wrong


def demo(
    out: str | Path = "demo",
    *,
    budget: str = "155s",
    subject: str = "animals",
    images: int = 200,
    size: int = 256,
    planted: int = 15,
    seed: int = 0,
) -> Demo:
    """Generates a dataset (two animals, 200 pictures of 256x256, 15 masks planted wrong) and runs init, audit,
    suspects, plan, train, evaluate, predict and report on it. `out` must not exist; `budget` is the wall time of all
    training: two fifths for the search for wrong masks, the rest for the model. The other arguments are those of
    `demo_data`.
    """
    require_posix("demo")
    seconds = seconds_argument("budget", budget)
    began = time.monotonic()
    folder = require_absent(Path(out))
    data, config, run_folder = folder / "data", folder / "run.yaml", folder / "run"
    say(f"demo folder: {folder}")
    wrong = demo_data(data, subject=subject, images=images, size=size, planted=planted, seed=seed)
    _step("audit", data)
    say(audit(data).human())
    search, training = (f"{share * seconds:g}s" for share in (_SEARCH, 1 - _SEARCH))
    _step("suspects", data, "--budget", search)
    doubted = suspects(data, budget=search)
    say(doubted.human())
    first = {row.sample for row in doubted.samples[: 2 * len(wrong)]}
    _step("plan", data, "-o", config, "--budget", training)
    plan(data, out=config, budget=training)
    _step("train", config, "--out", run_folder)
    run = train(config, out=run_folder)
    _step("evaluate", run_folder)
    result = evaluate(run)
    say(result.human())
    _step("predict", run_folder, data / "img" / "test", "--out", folder / "predictions")
    predict(run, [data / "img" / "test"], out=folder / "predictions")
    _step("report", run_folder)
    page = report(run)
    found = sum(item.sample in first for item in wrong)
    return Demo(
        folder,
        run.path,
        page,
        [asdict(item) for item in wrong],
        found,
        doubted.page,
        result.to_dict()["scores"],
        time.monotonic() - began,
    )


def _step(*words: str | Path) -> None:
    say(f"\n$ maskwright {shlex.join(map(str, words))}")
