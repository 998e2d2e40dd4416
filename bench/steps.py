"""Whether a training chooses how a step is made as it would on a quiet machine, with busy programs beside it.

    python bench/steps.py [--data DIR] [--model UNet] [--encoder NAME] [--args JSON] [--size 96 96] [--batch 4]
                          [--budget 1m] [--busy 0 1 2] [--starts 20] [--quiet 3] [--images 24]

Prints one JSON document, and on stderr a line for each start. The config is what `plan` writes for the data (generated
pictures when left out), by default small enough for 63 starts of some seconds each. Each start is a fresh process that
makes the first batch and measures as `train` does, with 0, 1, 2, ... programs beside it that do nothing but sums, one
thread each. The quiet choice, of precision and layout, is what most of the --quiet starts with nothing beside them
take. The numbers of threads are printed too, but follow the load and are not compared. Run it on a machine where
nothing else works: the "quiet" starts say how far they agree.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

BAR = 0.95
# It ends with the process that has started it, however that ends.
SPIN = (
    "import os, numpy as np\nx, parent = np.ones((200, 200)), os.getppid()\n"
    "while os.getppid() == parent: (x * 1.0001).sum()"
)


@contextmanager
def beside(programs: int) -> Iterator[None]:
    """So many busy programs, which end with the block."""
    alone = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    running = [subprocess.Popen([sys.executable, "-c", SPIN], env=alone) for _ in range(programs)]
    try:
        time.sleep(1.0 if running else 0.0)  # until they are busy
        yield
    finally:
        for program in running:
            program.kill()
            program.wait()


def choice(file: Path) -> dict[str, Any]:
    """What a training of this config chooses here and now."""
    import torch

    from maskwright.config import load_config
    from maskwright.data.opening import load_dataset
    from maskwright.training.distributed.processes import ALONE
    from maskwright.training.measuring import choose_step
    from maskwright.training.prepare import prepare, training_splits
    from maskwright.training.step import fast_arithmetic

    config = load_config(file)
    dataset = load_dataset(config.data.root)
    splits = training_splits(dataset, config.data.holdout, config.seed)
    with fast_arithmetic():
        prepared = prepare(config, dataset, splits, None, "cuda" if torch.cuda.is_available() else "cpu", ALONE)
        began = time.perf_counter()
        chosen = choose_step(config, prepared)
        return asdict(chosen) | {"took": time.perf_counter() - began}


def starts(config: Path, busy: int, number: int, of: str) -> list[dict[str, Any]]:
    """The choices of so many fresh processes, one after another, with `busy` programs beside them."""
    found: list[dict[str, Any]] = []
    # Fresh processes that have already imported torch, but used none of its threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["maskwright.training.measuring"])
    with beside(busy), ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for index in range(number):
            began = time.perf_counter()
            one = pool.submit(choice, config).result()
            found.append(one)
            print(
                f"{of}, {busy} busy, start {index + 1} of {number}: {way(one)}, {one['threads']} threads, "
                f"{one['step_seconds'] * 1000:.0f} ms per step; measured in {one['took']:.1f} s, "
                f"{time.perf_counter() - began:.1f} s in all",
                file=sys.stderr,
                flush=True,
            )
    return found


def way(found: dict[str, Any]) -> str:
    """What is compared."""
    return f"{found['precision']}, channels {'last' if found['channels_last'] else 'first'}"


def planned(data: Path, options: argparse.Namespace, file: Path) -> None:
    """Writes what `plan` chooses for the data, with the model, size and budget that were asked for."""
    from maskwright.training.plan import plan

    height, width = options.size
    overrides = [f"data.image_size=[{height}, {width}]", f"train.batch_size={options.batch}"]
    overrides += [f"model.args={options.args}"] if options.args else []
    plan(
        data,
        out=file,
        model=options.model,
        encoder=options.encoder,
        weights="none",
        budget=options.budget,
        overrides=overrides,
    )


def summary(found: list[dict[str, Any]], quiet: str) -> dict[str, Any]:
    """How far some starts agree with the quiet choice."""
    return {
        "choices": dict(Counter(map(way, found))),
        "threads": dict(Counter(one["threads"] for one in found)),
        "share": sum(way(one) == quiet for one in found) / len(found),
        "median_step_seconds": statistics.median(one["step_seconds"] for one in found),
        "median_took": statistics.median(one["took"] for one in found),
        "longest_took": max(one["took"] for one in found),
        "starts": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="dataset folder; generated when left out")
    parser.add_argument("--model", default="UNet", help="a row of the model table")
    parser.add_argument("--encoder", help="for models that take one")
    parser.add_argument("--args", help="JSON of model.args")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), default=(96, 96))
    parser.add_argument("--batch", type=int, default=4, help="images of a step")
    parser.add_argument("--budget", default="1m", help="a twentieth of it, and half as much, may be measured")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="numbers of busy programs")
    parser.add_argument("--starts", type=int, default=20, help="with each of them")
    parser.add_argument("--quiet", type=int, default=3, help="starts that say what the quiet choice is")
    parser.add_argument("--images", type=int, default=24, help="of the generated data")
    options = parser.parse_args()
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command line sets it; the starts inherit it
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        data, config = options.data or Path(name) / "data", Path(name) / "run.yaml"
        if not options.data:
            from maskwright.demonstration.generator import generate

            generate(data, images=options.images, planted=0)
        planned(data.resolve(), options, config)
        alone = starts(config, 0, options.quiet, "quiet")
        ((quiet, _),) = Counter(map(way, alone)).most_common(1)
        result: dict[str, Any] = {"quiet": quiet, "bar": BAR, "alone": summary(alone, quiet), "busy": {}}
        for busy in options.busy:
            result["busy"][busy] = found = summary(starts(config, busy, options.starts, "compared"), quiet)
            print(
                f"{busy} busy: {found['share']:.0%} of {options.starts} as quiet ({quiet}); {found['choices']}; "
                f"threads {found['threads']}; measured in {found['median_took']:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    print(json.dumps(result | {"seconds": time.perf_counter() - began}, indent=2))


if __name__ == "__main__":
    main()
