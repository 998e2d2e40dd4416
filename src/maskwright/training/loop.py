"""The training loop. It reads from top to bottom; everything it depends on is an argument or in `Progress`.

Exact resumption rests on three things: batches, learning rates and dropout are functions of
(seed, step); the whole state is written by one rename; and the log is cut back to the length that the
state remembers, so that repeated steps write the same bytes again.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from maskwright.base.progress import progress, say
from maskwright.base.stopping import Stop, graceful
from maskwright.base.storage import atomic_write_json
from maskwright.errors import DataError, Interrupted
from maskwright.evaluation.metrics import mIoU, scores
from maskwright.modeling.models.segmenter import Segmenter, with_model
from maskwright.modeling.optim.build import Groups, Schedule, build_optimizer
from maskwright.run import Run
from maskwright.training.best import BY_MIOU, Best
from maskwright.training.checkpoint import load_state, save_state
from maskwright.training.distributed.processes import ALONE, Processes
from maskwright.training.doctor import examine, sentences
from maskwright.training.ema import Average
from maskwright.training.guest import seed_torch
from maskwright.training.length import Budget, Length, Refit
from maskwright.training.loader import Batches, DecodedSamples, Waits, lost_processes, stream
from maskwright.training.progressive import FULL_SIZE, Progressive
from maskwright.training.step import train_step
from maskwright.training.threads import ThreadChange, Threads, Watch, time_threads
from maskwright.training.validation import validate

_LOG_EVERY = 10
_STATE_EVERY_SECONDS = 60.0


@dataclass(frozen=True)
class FitSettings:
    """How `fit` trains; lengths in iterations. `refits` and `thread_changes` are those that are known before; more
    are found when there is a `budget`, or a `watch`."""

    iterations: int
    evaluate_every: int
    batch_size: int
    seed: int
    groups: Groups
    schedule: Schedule
    ema: float | None = None
    early_stopping: int | None = None
    workers: int = 0
    compile: str = "none"
    refits: tuple[Refit, ...] = ()
    budget: Budget | None = None
    thread_changes: tuple[ThreadChange, ...] = ()
    watch: Watch | None = None
    progressive: Progressive = FULL_SIZE
    best: Best = BY_MIOU
    state_every_seconds: float = _STATE_EVERY_SECONDS


def fit(
    run: Run,
    settings: FitSettings,
    segmenter: Segmenter,
    criterion: nn.Module,
    batches: Batches,
    validation: DecodedSamples,
    processes: Processes = ALONE,
) -> dict[str, Any]:
    """Trains from the state in `run` to the end; returns how it ended. Several processes train as one: the first one
    writes, and the others need no folder of the run.

    Raises Interrupted on Ctrl-C or SIGTERM with the state saved, DataError when the loss is not finite, SetupError when
    a loader process was killed.
    """
    # Signals are caught from the start: torch swallows a KeyboardInterrupt while it loads a tensor.
    with lost_processes(run.path), graceful() as stop:
        return _fit(run, settings, segmenter, criterion, batches, validation, processes, stop)


def _fit(
    run: Run,
    settings: FitSettings,
    segmenter: Segmenter,
    criterion: nn.Module,
    batches: Batches,
    validation: DecodedSamples,
    processes: Processes,
    stop: Stop,
) -> dict[str, Any]:
    model = segmenter.model
    optimizer = build_optimizer(model, segmenter.spec, settings.groups)
    average = Average(model, settings.ema) if settings.ema else None
    averaged = average.model if average else None
    state = load_state(run.last, model, averaged, optimizer, processes)
    if processes.first:
        run.stopped_file.unlink(missing_ok=True)
        run.pruned_file.unlink(missing_ok=True)
        run.metrics.truncate(state.log_bytes)
    progressive = settings.progressive
    length = Length(
        settings.iterations, settings.evaluate_every, settings.refits, settings.budget, processes, progressive
    )
    length.go_to(state.step, run)
    threads = Threads(settings.thread_changes, settings.watch, processes)
    threads.go_to(state.step, length.iterations, length.next_evaluation(state.step), run)
    judged = with_model(segmenter, averaged) if averaged else segmenter
    if settings.compile != "none":
        model.compile(mode=settings.compile)
    step_once = train_step(segmenter, criterion, optimizer, processes)
    pending: list[torch.Tensor] = [torch.tensor(loss) for loss in state.pending_losses]
    saved = began = time.monotonic()
    first = state.step

    def ended() -> bool:
        return state.step == length.iterations or (
            settings.early_stopping is not None and state.evaluations_since_best >= settings.early_stopping
        )

    def refuse(what: str, step: int) -> DataError:
        names = batches.names(step)
        message, fix = f"{what} is not finite at iteration {step + 1}", "lower optimizer.lr or check these"
        if processes.first:
            atomic_write_json(
                run.stopped_file,
                {
                    "message": f"{message}; its images: {', '.join(names)}",
                    "fix": fix,
                    "evidence": {"iteration": step + 1, "samples": names},
                },
            )
        return processes.common(
            DataError(
                f"{run.path}: {message}; its images: {', '.join(names)}; {fix}. The last good "
                f"state is kept in {run.last.name}"
            )
        )

    def save() -> None:
        nonlocal saved
        state.pending_losses = [float(loss) for loss in pending]
        if not all(map(math.isfinite, state.pending_losses)):
            log_losses()  # raises: a state that is spoilt never replaces a good one
        if (
            processes.first and state.log_bytes
        ):  # the state counts on these bytes, so they reach the disk before it does
            with open(run.metrics.path, "rb") as stream:
                os.fsync(stream.fileno())
        if processes.first:
            save_state(run.last, state, model, averaged, optimizer)
        saved = time.monotonic()

    def log(record: dict[str, Any]) -> None:
        if processes.first:
            # Not flushed to the disk each time: what a crash loses is written again from the saved state.
            run.metrics.append(record, durable=False)
            state.log_bytes = run.metrics.size

    def log_time(record: dict[str, Any]) -> None:
        if processes.first:
            run.timing.append(record, durable=False)

    def log_losses() -> None:
        losses = [float(loss) for loss in pending]
        pending.clear()
        if losses:
            if not all(map(math.isfinite, losses)):
                first_bad = next(i for i, loss in enumerate(losses) if not math.isfinite(loss))
                raise refuse("the loss", state.step - len(losses) + first_bad)
            log(
                {
                    "iteration": state.step,
                    "epoch": round(state.step * settings.batch_size / batches.per_epoch, 3),
                    "loss": sum(losses) / len(losses),
                    "loss_max": max(losses),
                    **({"loss_first": losses[0]} if state.step == len(losses) else {}),  # before anything was learnt
                    "lr": optimizer.param_groups[0]["lr"],
                }
            )

    def evaluate() -> None:
        start = time.monotonic()
        confusions, loss = validate(
            judged, validation, criterion, settings.batch_size, run.sample_file(state.step), processes
        )
        if not math.isfinite(loss):  # the weights have run away in the last step
            raise refuse("the validation loss", state.step - 1)
        result = scores(confusions[-1], segmenter.classes.names, segmenter.classes.ids)
        value = settings.best.value(confusions, loss)
        better = settings.best.better(value, state.best_value)
        if better:
            state.best_value, state.best_miou = value, result.mIoU
            state.best_step, state.evaluations_since_best = state.step, 0
            if processes.first:
                judged.save(run.best)
        else:
            state.evaluations_since_best += 1
        levels = {"val_mIoU_levels": [float(mIoU(counts)) for counts in confusions]} if len(confusions) > 1 else {}
        log(
            {
                "iteration": state.step,
                "val_loss": loss,
                "val_aAcc": result.aAcc,
                "val_mAcc": result.mAcc,
                "val_mIoU": result.mIoU,
                "val_mDice": result.mDice,
                "val_iou": [c.iou for c in result.classes],
                **levels,
                **({} if settings.best.usual else {"val_best_score": value}),
                "best": better,
            }
        )
        length.evaluated(time.monotonic() - start)
        log_time({"iteration": state.step, "evaluation_seconds": time.monotonic() - start})
        number = state.step // length.evaluate_every
        if (
            processes.first
            and number >= 4
            and number & (number - 1) == 0
            and state.step < length.iterations
            and (found := examine(run))
        ):
            say(f"so far: {sentences(found)}")  # after 4, 8, 16, … evaluations: the log is read only a few times

    with progress("training", length.iterations, "iterations", first) as advance:
        # A run that was killed between its last state and `finished.json` has nothing left to do.
        steps = Waits(stream(batches, state.step, state.step if ended() else length.furthest, settings.workers))
        for images, targets in steps:
            factor = length.factor(settings.schedule, state.step)
            for group in optimizer.param_groups:
                group["lr"] = group["base_lr"] * factor
            # Dropout: a function of (seed, step, process).
            seed_torch(settings.seed * 1_000_003 + state.step + (processes.rank << 52), segmenter.device)
            model.train()
            start, small = time.perf_counter(), length.small(state.step)
            pending.append(step_once(*(progressive.resized(images, targets) if small else (images, targets))))
            threads.stepped((time.perf_counter() - start) / (progressive.cost if small else 1))
            if average:
                average.update(model, state.step)
            state.step += 1
            due = state.step == length.next_evaluation(state.step - 1)
            if due or len(pending) == _LOG_EVERY:
                log_losses()
                log_time(
                    {"iteration": state.step, "seconds": time.monotonic() - began, **steps.taken(), **length.used()}
                )
            if due:
                evaluate()
                steps.taken()  # an evaluation is no waiting
            if refit := length.refit(state.step):
                log_losses()
                log(asdict(refit))
            start = time.monotonic()
            timed = partial(time_threads, segmenter, criterion, images, targets, settings.groups, processes)
            if change := threads.change(state.step, length.iterations, timed):
                log_losses()
                log(asdict(change))
            length.paused(time.monotonic() - start)
            advance(
                state.step,
                f"best val {settings.best} {state.best_value:.4f}" if state.best_value is not None else "",
                length.iterations,
            )
            stopping, old = processes.any(stop.is_set(), time.monotonic() - saved > settings.state_every_seconds)
            if due or refit or change or stopping or old:
                save()
            if ended():
                break
            if stopping:
                raise processes.common(
                    Interrupted(
                        f"{run.path}: stopped at iteration {state.step} of {length.iterations}, state saved; "
                        f"resume with `maskwright resume {run.path}`"
                    )
                )
    seconds = time.monotonic() - began
    images_per_second = (state.step - first) * settings.batch_size / seconds if seconds else 0.0
    refits = {"refits": [asdict(refit) for refit in length.refits]} if length.refits else {}
    changes = {"thread_changes": [asdict(change) for change in threads.changes]} if threads.changes else {}
    chosen = {} if settings.best.usual else {"best_score": str(settings.best), "best_value": state.best_value}
    return (
        refits
        | changes
        | chosen
        | {
            "iterations": state.step,
            "early_stopped": state.step < length.iterations,
            "best_iteration": state.best_step,
            "best_val_mIoU": state.best_miou,
            "seconds": seconds,
            "images_per_second": images_per_second,
        }
    )
