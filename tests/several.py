"""Trains with several processes as torchrun starts them, and prints what came of it as one JSON document.

    python several.py FOLDER SCENARIO...

torch is imported once; every process is a fork of this one, which itself computes nothing, with the environment that
torchrun would give it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch
import yaml
from torch import nn

from maskwright import cli
from maskwright.config import RunConfig
from maskwright.core.dataset import Dataset
from maskwright.errors import MaskwrightError
from maskwright.modeling.models.segmenter import read_tensors
from maskwright.run import Run
from maskwright.training import loop, measuring
from maskwright.training import train as training
from maskwright.training.distributed.batch_norm import WholeBatchNorm
from maskwright.training.distributed.processes import joined
from maskwright.training.loader import Batches
from maskwright.training.precision import StepChoice
from tiny import EVERY_AUGMENTATION, config, write_dataset

PATIENCE = 240.0
LR = 0.01
EPS = 1e-4  # of Adam, in comparisons: far above the rounding of float64 and far below the gradients
Work = Callable[[int], Any]


def start(size: int, work: Work, logs: Path) -> list[int]:
    """Forks `size` processes that do `work(rank)`, and returns their pids. What they say goes to `logs/RANK.log`."""
    logs.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pids = []
    for rank in range(size):
        pid = os.fork()
        if not pid:
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "LOCAL_WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "TORCHELASTIC_RUN_ID": "x",
            }
            _be(rank, work, logs / f"{rank}.log")
        pids.append(pid)
    return pids


def _be(rank: int, work: Work, log: Path) -> None:
    code = 1
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        work(rank)
        code = 0
    except MaskwrightError as error:
        print(type(error).__name__, error, flush=True)
        code = error.exit_code
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pids: list[int], logs: Path, orphans: float = PATIENCE) -> list[int]:
    """Exit codes of the processes, which must all end within some minutes. When one has failed, the others get a SIGTERM
    after `orphans` seconds, as torchrun sends it: they may wait for one that died before they had met."""
    deadline = time.monotonic() + PATIENCE
    codes: dict[int, int] = {}
    failed: float | None = None
    while len(codes) < len(pids) and time.monotonic() < deadline:
        for pid in pids:
            if pid not in codes and (ended := os.waitpid(pid, os.WNOHANG))[0]:
                codes[pid] = os.waitstatus_to_exitcode(ended[1])
                failed = failed or (time.monotonic() if codes[pid] else None)
        if failed and time.monotonic() > failed + orphans:
            failed = float("inf")
            for pid in set(pids) - codes.keys():
                os.kill(pid, signal.SIGTERM)
        time.sleep(0.005)
    for pid in set(pids) - codes.keys():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        codes[pid] = 99
    if 99 in codes.values() or 1 in codes.values():
        raise SystemExit("\n".join(f"--- {log}\n{log.read_text()}" for log in sorted(logs.iterdir())))
    return [codes[pid] for pid in pids]


def together(size: int, work: Work, logs: Path) -> list[int]:
    return wait(start(size, work, logs), logs)


def digest(tensors: dict[str, torch.Tensor]) -> str:
    whole = hashlib.sha256()
    for key in sorted(tensors):
        whole.update(key.encode() + tensors[key].detach().contiguous().numpy().tobytes())
    return whole.hexdigest()


def remembering(folder: Path, rank: int) -> None:
    """From now on the weights and buffers that each process ends with are noted."""
    fit = training.fit

    def noting(run: Run, plan: Any, segmenter: Any, *rest: Any) -> Any:
        facts = fit(run, plan, segmenter, *rest)
        (folder / f"weights{rank}").write_text(digest(segmenter.model.state_dict()))
        return facts

    training.fit = noting  # type: ignore[assignment]


def saving_often() -> None:
    training.FitSettings = partial(training.FitSettings, state_every_seconds=0.0)  # type: ignore[attr-defined,assignment]


def at_step(step: int, number: int) -> None:
    """This process gets the signal while it makes the batch of that step."""
    make = Batches.__getitem__

    def make_and_send(self: Batches, index: int) -> Any:
        if index == step:
            os.kill(os.getpid(), number)
        return make(self, index)

    Batches.__getitem__ = make_and_send  # type: ignore[method-assign]


def result(path: Path) -> dict[str, str]:
    """A hash of every file that the same run has the same bytes of."""
    run = Run(path)
    files = [run.best, run.last, run.metrics.path, *sorted((run.path / "samples").iterdir())]
    return {str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def settings(folder: Path, dropout: float, optimizer: dict[str, Any] | None = None, **train: Any) -> RunConfig:
    root = folder / "data"
    if not root.exists():
        write_dataset(root, {"train": 9, "val": 5}, ids=(0, 1, 2))
    return config(
        root,
        train={"iterations": 12, "ema": 0.9, **train},
        model={"dropout": dropout},
        augment=EVERY_AUGMENTATION,
        optimizer={"lr": LR, **(optimizer or {})},
        seed=5,
    )


def trained(run: RunConfig, out: Path) -> Work:
    def work(rank: int) -> None:
        remembering(out.parent, rank)
        training.train(run, out=out)

    return work


def same_model(folder: Path) -> dict[str, Any]:
    """One process and two, in float32, as everybody trains."""
    run = settings(folder, dropout=0.0)
    found: dict[str, Any] = {}
    for size in (1, 2):
        out = folder / f"of{size}" / "run"
        found[f"codes{size}"] = together(size, trained(run, out), out.parent / "logs")
        found[f"log{size}"] = Run(out).metrics.read()
    found["weights"] = [(folder / "of2" / f"weights{rank}").read_text() for rank in range(2)]
    found["info"] = Run(folder / "of2" / "run").info()
    found["said"] = [(folder / "of2" / "logs" / f"{rank}.log").read_text() for rank in range(2)]
    found["left"] = sorted(str(path.relative_to(folder / "of2")) for path in (folder / "of2").rglob(".*"))
    return found


def in_float64(work: Work) -> Work:
    """The same work with models, losses and averages in float64."""

    def done(rank: int) -> Any:
        torch.set_default_dtype(torch.float64)
        return work(rank)

    return done


def same_mathematics(folder: Path) -> dict[str, Any]:
    """One process and two in float64, with an optimiser that takes no whole steps for rounding: logs, weights, and what
    the bounds on them depend on."""
    run = settings(folder, dropout=0.0, optimizer={"eps": EPS})
    found: dict[str, Any] = {"eps": EPS, "lr": LR}
    for size in (1, 2):
        out = folder / f"of{size}" / "run"
        together(size, in_float64(trained(run, out)), out.parent / "logs")
        found[f"log{size}"] = Run(out).metrics.read()
    one, two = (read_tensors(Run(folder / f"of{size}" / "run").last)[1] for size in (1, 2))
    moments = sum(float(value.sum()) for key, value in one.items() if key.endswith("exp_avg_sq"))
    found["gradient"] = (moments / (0.001 * 0.999**12)) ** 0.5  # that of no step was longer
    found["parameters"] = sum(value.numel() for key, value in one.items() if key.endswith("exp_avg"))
    found["layers"] = layers(one)
    for kind in ("model/", "average/"):
        pairs = [(value, two[key]) for key, value in one.items() if key.startswith(kind) and value.is_floating_point()]
        found[kind] = {
            "apart": max(float((a - b).abs().max()) for a, b in pairs),
            "types": sorted({str(value.dtype) for pair in pairs for value in pair}),
        }
    return found


def layers(state: dict[str, torch.Tensor]) -> int:
    """How many convolutions and normalisations the model has."""
    return sum(key.startswith("model/") and key.endswith(".weight") for key in state)


def first_gradients(folder: Path) -> dict[str, Any]:
    """The loss and the gradient of the first step, by one process and by two, of a model with one head and of one with
    an auxiliary head too; in float64 and float32."""
    found: dict[str, Any] = {}
    for heads, model in (
        ("one", {}),
        ("two", {"name": "UNetFCN", "args": {"base": 4, "stages": 3, "head_dropout": 0.0, "aux_weight": 2.0}}),
    ):
        for dtype in ("float64", "float32"):
            gradients, losses = [], []
            for size in (1, 2):
                place = folder / f"{heads}_{dtype}"
                run = settings(place, dropout=0.0, iterations=1)
                run = run.model_copy(update={"model": run.model.model_copy(update=model)})
                out = place / f"of{size}" / "run"
                work = trained(run, out)
                together(size, in_float64(work) if dtype == "float64" else work, out.parent / "logs")
                state = read_tensors(Run(out).last)[1]
                moments = [value.flatten() for key, value in sorted(state.items()) if key.endswith("exp_avg")]
                gradients.append(torch.cat(moments).double())
                losses.append(Run(out).metrics.read()[0]["loss"])
            one, two = gradients
            found[f"{heads} {dtype}"] = {
                "losses": losses,
                "layers": layers(state),
                "largest": float(one.abs().max()),
                "apart": float((one - two).abs().max()),
                "size": float(one.norm()),
                "distance": float((one - two).norm()),
            }
    return found


def stopped_and_killed(folder: Path) -> dict[str, Any]:
    """A run that was stopped by a signal to its second process, then lost its second process, then its first one."""
    run = settings(folder, dropout=0.2)
    whole, out, logs = folder / "whole" / "run", folder / "disturbed" / "run", folder / "logs"
    together(2, trained(run, whole), logs)
    found: dict[str, Any] = {"whole": result(whole)}

    def disturbed(rank: int, victim: int, step: int, number: int) -> None:
        saving_often()
        if rank == victim:
            at_step(step, number)
        remembering(out.parent, rank)
        if out.exists():
            training.resume(out)
        else:
            training.train(run, out=out)

    for name, victim, step, number in (
        ("stop", 1, 3, signal.SIGTERM),
        ("second", 1, 6, signal.SIGKILL),
        ("first", 0, 9, signal.SIGKILL),
    ):
        began = time.monotonic()
        codes = together(2, partial(disturbed, victim=victim, step=step, number=number), logs)
        found[name] = {
            "codes": codes,
            "said": [(logs / f"{rank}.log").read_text() for rank in range(2)],
            "step": read_tensors(Run(out).last)[0]["step"],
            "seconds": time.monotonic() - began,
        }
    alone = folder / "alone" / "run"
    shutil.copytree(out, alone)
    together(2, lambda _: training.resume(out), logs)
    found["resumed"] = result(out)
    together(1, lambda _: training.resume(alone), logs)
    found["alone"] = {"said": (logs / "0.log").read_text(), "log": Run(alone).metrics.read()}
    found["log"] = Run(whole).metrics.read()
    return found


def budgeted(folder: Path) -> dict[str, Any]:
    """A budget by the clock of the first process, whose steps take a second and then three; the second one's stands."""
    run = settings(folder, dropout=0.2, iterations=None, evaluate_every=None, budget="60s")
    out, again, logs = folder / "run", folder / "again", folder / "logs"

    def work(rank: int) -> None:
        told, clock, make = 0.0, time.monotonic, loop.train_step

        def slow(*arguments: Any) -> Any:
            step = make(*arguments)

            def timed(*batch: Any) -> Any:
                nonlocal told
                told += 0 if rank else 1 if told < 15 else 3
                return step(*batch)

            return timed

        loop.train_step = slow  # type: ignore[assignment]
        time.monotonic = lambda: clock() + told  # type: ignore[assignment]
        measuring.choose = lambda *_: StepChoice("float32", 1.0, "told", {"float32": 1.0})  # type: ignore[assignment]
        remembering(folder, rank)
        training.train(run, out=out)

    found: dict[str, Any] = {
        "codes": together(2, work, logs),
        "finished": Run(out).finished,
        "planned": Run(out).config().to_dict()["train"],
        "weights": [(folder / f"weights{rank}").read_text() for rank in range(2)],
    }
    together(2, lambda _: training.train(out / "config.yaml", out=again), logs)
    return found | {"result": result(out), "again": result(again)}


def refused(folder: Path) -> dict[str, Any]:
    """What cannot be: all processes end with the same code, and one of them says why."""
    good = settings(folder, dropout=0.0)
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(good.to_dict()))
    (folder / "taken").mkdir()
    (folder / "taken" / "file").touch()

    def command(rank: int, *words: str) -> None:
        cli.main(["train", str(file), "--json", *words])

    def other_data(rank: int) -> None:
        if rank == 1:
            Dataset.version = lambda *_: "other"  # type: ignore[method-assign,assignment]
        command(rank, "--out", str(folder / "run"))

    def no_data(rank: int) -> None:
        if rank == 1:
            training.load_dataset = lambda root: (_ for _ in ()).throw(training.DataError(f"{root}: is not there"))
        command(rank, "--out", str(folder / "run"))

    works: dict[str, Work] = {
        "uneven": lambda rank: command(rank, "--out", str(folder / "run"), "--set", "train.batch_size=5"),
        "compiled": lambda rank: command(rank, "--out", str(folder / "run"), "--set", "train.compile=default"),
        "config": lambda rank: command(rank, "--set", "train.batch_sice=4"),
        "taken": lambda rank: command(rank, "--out", str(folder / "taken")),
        "other data": other_data,
        "no data": no_data,
        "spoilt": lambda rank: command(rank, "--out", str(folder / "run2"), "--set", "optimizer.lr=1e30"),
        "fine": lambda rank: command(rank, "--out", str(folder / "run1"), "--set", "train.iterations=2"),
    }
    found: dict[str, Any] = {}
    for name, work in works.items():
        logs = folder / name / "logs"
        found[name] = {
            "codes": together(2, work, logs),
            "said": [(logs / f"{rank}.log").read_text() for rank in range(2)],
        }
    found["written"] = sorted(path.name for path in folder.iterdir())
    return found


def normalisation(folder: Path) -> dict[str, Any]:
    """Batch normalisation shared by two against that of one, with what flows back: the largest difference of each
    quantity, relative to its largest value."""

    def differences(kind: str, layout: torch.memory_format, momentum: float | None, affine: bool) -> dict[str, float]:
        torch.manual_seed(1)
        dtype = getattr(torch, kind)
        layers = [
            nn.BatchNorm2d(5, momentum=momentum, affine=affine, dtype=torch.promote_types(dtype, torch.float32))
            for _ in range(2)
        ]
        for layer in layers if affine else []:
            with torch.no_grad():
                layer.weight.copy_(torch.linspace(0.5, 2, 5))
                layer.bias.copy_(torch.linspace(-1, 1, 5))
        features = (torch.randn(4, 5, 3, 2) * 3 + 20).to(dtype).to(memory_format=layout)
        direction = torch.randn(4, 5, 3, 2).to(dtype)
        with joined("cpu") as processes:
            whole, own = features.clone().requires_grad_(), features[processes.rank :: 2].clone().requires_grad_()
            expected = layers[0](whole)
            expected.backward(direction)
            with WholeBatchNorm(processes):
                part = layers[1](own)
            shared = processes.whole(part)
            shared.backward(direction)
            if affine:
                processes.add_gradients(torch.optim.SGD(layers[1].parameters()))
        pairs = {"out": (shared, expected), "features": (own.grad, whole.grad[processes.rank :: 2])}
        pairs |= {key: (layers[1].state_dict()[key], value) for key, value in layers[0].state_dict().items()}
        if affine:
            pairs |= {
                f"{name} gradient": (dict(layers[1].named_parameters())[name].grad, value.grad)
                for name, value in layers[0].named_parameters()
            }
        return {
            key: float((a.double() - b.double()).abs().max() / b.double().abs().max()) for key, (a, b) in pairs.items()
        }

    found = {}
    ways = [(torch.contiguous_format, 0.1, True), (torch.channels_last, 0.1, False), (torch.channels_last, None, True)]
    for number, arguments in enumerate(
        [
            *(("float64", *way) for way in ways),
            *(("float32", *way) for way in ways),
            ("bfloat16", torch.channels_last, 0.1, True),
        ]
    ):

        def work(rank: int, arguments: Any = arguments, number: int = number) -> None:
            (folder / f"{number}-{rank}.json").write_text(json.dumps(differences(*arguments)))

        together(2, work, folder / "logs")
        found[f"{arguments[0]} {number}"] = [
            json.loads((folder / f"{number}-{rank}.json").read_text()) for rank in range(2)
        ]
    return found


def campaign(folder: Path, kills: int = 40) -> dict[str, Any]:
    """Runs of three processes of which a random one is killed or told to stop at a random time, until enough died."""
    run = settings(folder, dropout=0.2, batch_size=6, iterations=30)
    rng = random.Random(11)
    whole, logs = folder / "whole" / "run", folder / "logs"
    began = time.monotonic()
    together(3, trained(run, whole), logs)
    seconds = time.monotonic() - began
    found: dict[str, Any] = {"killed": 0, "stopped": 0, "runs": 0, "mismatches": 0, "slowest": 0.0, "codes": []}

    def go_on(rank: int, out: Path, pause: float) -> None:
        training.FitSettings = partial(training.FitSettings, state_every_seconds=pause)  # type: ignore[attr-defined,assignment]
        if out.exists():
            training.resume(out)
        else:
            training.train(run, out=out)

    while found["killed"] < kills:
        out = folder / str(found["runs"]) / "run"
        out.parent.mkdir()
        while not (out / "finished.json").exists():
            pids = start(3, partial(go_on, out=out, pause=rng.choice([0.0, 0.2])), logs)
            number = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
            time.sleep(rng.uniform(0, 1.2 * seconds))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[rng.randrange(3)], number)
            hit = time.monotonic()
            codes = wait(pids, logs, orphans=3)
            found["killed" if -9 in codes else "stopped"] += any(codes)
            found["slowest"] = max(found["slowest"], time.monotonic() - hit) if -9 in codes else found["slowest"]
            found["codes"] = sorted({*found["codes"], *codes})
        found["mismatches"] += result(out) != result(whole)
        found["runs"] += 1
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    import torch._dynamo  # the optimiser would import it in every process, which takes seconds

    found = {}
    for scenario in sys.argv[2:]:
        place = Path(sys.argv[1]) / scenario
        place.mkdir()
        found[scenario] = globals()[scenario](place)
    print(json.dumps(found))
