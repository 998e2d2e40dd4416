"""How a step is made fastest on this machine, found by measuring a few steps of the very model: the precision, the
layout of images in memory, and the number of threads (docs/decisions/0009)."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import nn

from maskwright.base.texts import plural
from maskwright.base.workers import available_cores
from maskwright.modeling.models.segmenter import Segmenter, with_model
from maskwright.modeling.optim.build import Groups, build_optimizer
from maskwright.training.distributed.processes import ALONE, Processes
from maskwright.training.rounds import Found, in_rounds, typical
from maskwright.training.step import synchronise, train_step

# bfloat16 has 8 bits of mantissa: it has to be clearly faster to be worth them. The rest only has to stand out of
# the noise of the clock.
_WORTH = 1.1
_WORTH_A_CHANGE = 1.05
# A processor without bfloat16 needs over 100 times as long for a product; one with it less than once.
_EMULATED = 5.0
# Short steps are timed several at a time: behind the step of another way, the first one finds its data far away.
_STEPS, _SECONDS = 3, 0.25


@dataclass(frozen=True)
class Wanted:
    """What the config fixes; None and `auto` are measured."""

    precision: str = "auto"
    channels_last: bool | None = None
    threads: int | None = None


@dataclass(frozen=True)
class Way:
    """One way to make a step."""

    precision: str
    channels_last: bool
    threads: int

    @property
    def name(self) -> str:
        """Without the threads."""
        return self.precision if self.channels_last else f"{self.precision}, channels first"


@dataclass(frozen=True)
class StepChoice:
    """What was taken, the typical seconds of one step with it, the reason, and the seconds of all tried: the fastest
    steps of each precision and layout, and the typical steps of each number of threads. `most` are the threads that
    there could be, where the config does not fix them; `small_cost` the time of a step with smaller images
    (progressive resizing) over that of a full one."""

    precision: str
    step_seconds: float
    reason: str
    seconds: dict[str, float]
    channels_last: bool = True
    threads: int = field(default_factory=torch.get_num_threads)
    most: int = 1
    small_cost: float = 1.0

    def apply(self, segmenter: Segmenter) -> None:
        """Lets the model work in this way from now on."""
        segmenter.precision, segmenter.channels_last = self.precision, self.channels_last
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        segmenter.model.to(memory_format=layout)
        torch.set_num_threads(self.threads)


def choose(
    segmenter: Segmenter,
    criterion: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    groups: Groups,
    wanted: Wanted = Wanted(),
    processes: Processes = ALONE,
    within: Callable[[float], float] = lambda _: 60.0,
) -> StepChoice:
    """Times forward, backward and update on copies of the model; the model itself is not changed.

    `images` (N, C, H, W), `targets` (N, H, W) uint8. First the threads, on a CPU with several: half of them as
    long as that is faster, by typical steps, since they should suit the machine as it is now. Then precision and
    layout, by the fastest steps, since they should be those of a quiet machine: channels-last unless channels-first
    is faster, and bfloat16 where it is at least 1.1 times as fast and its loss is finite. A processor that only
    emulates bfloat16 is recognised by one small product, since a single step would take many seconds there. `within`
    gives the seconds that precision and layout may take to measure, and the threads half of it, from those of the
    fastest step. Several processes measure at the same time and take what the first one has found.
    """
    trials = Trials(segmenter, criterion, images, targets, groups, processes)
    before, on_cpu = torch.get_num_threads(), segmenter.device.type == "cpu"
    precisions, why = [wanted.precision], "given in the config"
    if wanted.precision == "auto":
        times = processes.share(bfloat16_cost() if on_cpu else 0.0)
        precisions = ["float32"] if times > _EMULATED else ["float32", "bfloat16"]
        why = f"bfloat16 is emulated here: a matrix product takes {times:.0f} times as long"
    layouts = [True, False] if wanted.channels_last is None else [wanted.channels_last]
    threads, by_threads = wanted.threads or usable_threads(processes), dict[int, float]()
    most = threads if wanted.threads is None and on_cpu else 1
    while most > 1 and threads > 1:
        # In the way that is likely to be taken: its steps are short.
        few = best_threads(
            trials, Way(precisions[-1], layouts[0], threads), [threads, threads // 2], lambda step: within(step) / 2
        )
        by_threads |= few.typical
        if few.way == threads:
            break
        threads = few.way
    ways = [Way(precision, layout, threads) for precision in precisions for layout in layouts]
    found = in_rounds(ways, trials, partial(_best, trials), within)
    torch.set_num_threads(before)
    seconds = {way.name: seconds for way, seconds in found.fastest.items()}
    if len(precisions) > 1:
        single, brain = (
            _fastest_layout(found.fastest, [way for way in ways if way.precision == precision])
            for precision in precisions
        )
        why = _why(found.fastest[single] / found.fastest[brain], brain in trials.spoilt)
    if layouts == [True, False] and not found.way.channels_last:
        gain = found.fastest[replace(found.way, channels_last=True)] / found.fastest[found.way]
        why += f"; channels first: {gain:.2f} times as fast"
    if threads < most:
        why += (
            f"; {plural(threads, 'thread')}: {by_threads[most] / by_threads[threads]:.2f} times as fast as {most} now"
        )
    seconds |= {plural(number, "thread"): usual for number, usual in by_threads.items()}
    return StepChoice(
        found.way.precision, found.typical[found.way], why, seconds, found.way.channels_last, threads, most
    )


def best_threads(trials: Trials, way: Way, numbers: Sequence[int], within: Callable[[float], float]) -> Found[int]:
    """The best of some numbers of threads for `way` on the machine as it is; those of `way` unless others are clearly
    faster. Leaves another number of threads set."""

    def decide(seconds: Mapping[int, float]) -> int:
        best = min(numbers, key=lambda number: seconds[number])
        return best if seconds[way.threads] / seconds[best] >= _WORTH_A_CHANGE else way.threads

    return in_rounds(numbers, lambda number: trials(replace(way, threads=number)), decide, within, typical)


def _best(trials: Trials, seconds: Mapping[Way, float]) -> Way:
    """What is taken at these speeds."""
    precisions = {way.precision: [other for other in seconds if other.precision == way.precision] for way in seconds}
    best, *others = (_fastest_layout(seconds, ways) for ways in precisions.values())
    for other in others:
        if other not in trials.spoilt and seconds[best] / seconds[other] >= _WORTH:
            best = other
    return best


def _fastest_layout(seconds: Mapping[Way, float], ways: Sequence[Way]) -> Way:
    """Of one precision: channels-last comes first, and the other has to be faster."""
    last, *others = ways
    return next((other for other in others if seconds[last] / seconds[other] >= _WORTH_A_CHANGE), last)


def _why(gain: float, spoilt: bool) -> str:
    """Why bfloat16 is taken or not, where its steps are `gain` times as fast."""
    if spoilt:
        return "bfloat16 gives a loss that is not finite"
    if gain >= _WORTH:
        return f"{gain:.2f} times as fast as float32 here"
    return f"bfloat16 is {f'only {gain:.2f} times as fast' if gain >= 1 else f'{1 / gain:.2f} times slower'} here"


def usable_threads(processes: Processes) -> int:
    """torch's own number, but no more than the cores that this process may use; beside other processes a fair share of
    the cores, since torchrun gives each just one thread whatever the machine has."""
    cores = available_cores()
    return max(1, min(torch.get_num_threads(), cores) if processes.size == 1 else cores // processes.local_size)


def bfloat16_cost() -> float:
    """How many times as long a product of two 256 x 256 matrices takes in bfloat16 as in float32, on the CPU."""

    def seconds(dtype: torch.dtype) -> float:
        matrix = torch.ones(256, 256, dtype=dtype)
        times = []
        for _ in range(3):
            start = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - start)
        return min(times)

    return seconds(torch.bfloat16) / seconds(torch.float32)


class Trials:
    """Timed training steps on copies of the model, made when they are needed: one for each layout, since precision
    and threads change nothing that is kept. `spoilt` are the ways whose loss was not finite."""

    def __init__(
        self,
        segmenter: Segmenter,
        criterion: nn.Module,
        images: torch.Tensor,
        targets: torch.Tensor,
        groups: Groups,
        processes: Processes = ALONE,
    ) -> None:
        self._segmenter, self._criterion, self._batch = segmenter, criterion, (images, targets)
        self._groups, self._processes = groups, processes
        self._copies: dict[bool, tuple[Segmenter, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = {}
        self.spoilt: set[Way] = set()

    def __call__(self, way: Way) -> list[float]:
        """Seconds of some steps in this way, one after another."""
        trial, step = self._copy(way)
        trial.precision = way.precision
        torch.set_num_threads(way.threads)
        seconds: list[float] = []
        loss = torch.zeros(())
        while len(seconds) < _STEPS:
            start = time.perf_counter()
            loss = step(*self._batch)
            synchronise(self._segmenter.device)
            seconds.append(time.perf_counter() - start)
            if self._processes.any(sum(seconds) > _SECONDS)[0]:
                break
        seconds, finite = self._processes.share((seconds, bool(torch.isfinite(loss))))
        if not finite:
            self.spoilt.add(way)
            del self._copies[way.channels_last]  # its weights are lost, too, and say nothing about another way
        return seconds

    def _copy(self, way: Way) -> tuple[Segmenter, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
        if way.channels_last not in self._copies:
            trial = with_model(self._segmenter, copy.deepcopy(self._segmenter.model).train())
            StepChoice(way.precision, 0.0, "", {}, way.channels_last, way.threads).apply(trial)
            step = train_step(
                trial, self._criterion, build_optimizer(trial.model, trial.spec, self._groups), self._processes
            )
            self._copies[way.channels_last] = trial, step
        return self._copies[way.channels_last]
