"""The choice of the precision: by measurement, and without touching the model."""

import copy
import random

import numpy as np
import pytest
import torch

from helpers import THREADS
from maskwright.core.classes import ClassTree
from maskwright.core.geometry import Geometry
from maskwright.modeling.losses.build import build_loss
from maskwright.modeling.models.build import ModelSpec, build_model
from maskwright.modeling.models.segmenter import Preprocessing, Segmenter
from maskwright.modeling.optim.build import Groups, build_optimizer
from maskwright.training import precision
from maskwright.training.precision import Trials, Wanted, Way, choose
from maskwright.training.step import fast_arithmetic, step_loss, train_step


@pytest.fixture
def setting():
    spec = ModelSpec("UNet", 2, args={"channels": [4], "bottleneck": 4, "dropout": 0.1})
    model = build_model(spec).to(memory_format=torch.channels_last)
    preprocessing = Preprocessing(Geometry((16, 16)), (0.5,) * 3, (0.25,) * 3)
    segmenter = Segmenter(model, spec, ClassTree.flat(["a", "b"]), preprocessing)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (2, 3, 16, 16), dtype=np.uint8))
    targets = torch.from_numpy(rng.integers(0, 2, (2, 16, 16), dtype=np.uint8))
    return segmenter, build_loss([{"name": "ce"}], np.array([[1, 1]])), images, targets, Groups()


@pytest.fixture(autouse=True)
def native(monkeypatch):
    """A processor that knows bfloat16, and one thread, whatever runs the tests."""
    monkeypatch.setattr(precision, "bfloat16_cost", lambda: 0.5)
    monkeypatch.setattr(precision, "usable_threads", lambda _: 1)


class Bench:
    """Steps whose seconds are told: by precision and layout, and by what so many threads multiply them by. Each step
    may be disturbed: `stalled` of them take 1.5 to 10 times as long."""

    def __init__(self, monkeypatch, seconds, threads=None, spoilt=(), stalled=0.0, seed=0):
        self.tried, self.seconds, self.threads, self.stalled = [], seconds, threads or {}, stalled
        self.rng, self.bad = random.Random(seed), spoilt
        bench = self

        class Trials:
            def __init__(self, *_):
                self.spoilt = set()

            def __call__(self, way):
                if way.precision in bench.bad:
                    self.spoilt.add(way)
                bench.tried.append(way)
                return [bench.step(way)]

        monkeypatch.setattr(precision, "Trials", Trials)

    def step(self, way):
        quiet = self.seconds[way.precision, way.channels_last] * self.threads.get(way.threads, 1.0)
        disturbed = self.rng.uniform(1.5, 10) if self.rng.random() < self.stalled else 1.0
        return quiet * disturbed


def of(brain, single, first=1.0):
    """Seconds of bfloat16 and float32; `first` is what channels-first multiplies them by."""
    return {
        (name, last): seconds * (1.0 if last else first)
        for name, seconds in (("bfloat16", brain), ("float32", single))
        for last in (True, False)
    }


LAST = Wanted(channels_last=True)


@pytest.mark.parametrize(
    ("brain", "single", "finite", "chosen", "why"),
    [
        (1.0, 2.5, True, "bfloat16", "2.50 times as fast as float32 here"),
        (1.0, 1.1, True, "bfloat16", "1.10 times as fast as float32 here"),
        (1.0, 1.09, True, "float32", "bfloat16 is only 1.09 times as fast here"),
        (2.2, 1.0, True, "float32", "bfloat16 is 2.20 times slower here"),
        (1.0, 2.5, False, "float32", "bfloat16 gives a loss that is not finite"),
    ],
)
def test_bfloat16_must_be_clearly_faster_and_finite(monkeypatch, setting, brain, single, finite, chosen, why):
    Bench(monkeypatch, of(brain, single), spoilt=() if finite else ("bfloat16",))
    choice = choose(*setting, LAST)
    assert choice.precision == chosen
    assert choice.step_seconds == {"bfloat16": brain, "float32": single}[chosen]
    assert choice.seconds == {"bfloat16": brain, "float32": single}
    assert choice.reason == why


def testbfloat16_cost_bfloat16_is_not_measured(monkeypatch, setting):
    monkeypatch.setattr(precision, "bfloat16_cost", lambda: 60.0)
    bench = Bench(monkeypatch, of(0.0, 2.0))
    choice = choose(*setting, LAST)
    assert set(bench.tried) == {Way("float32", True, 1)}
    assert (choice.precision, choice.step_seconds, choice.seconds) == ("float32", 2.0, {"float32": 2.0})
    assert "emulated" in choice.reason and "60" in choice.reason


def test_the_probe_compares_the_two(monkeypatch):
    monkeypatch.undo()
    now, seconds = 0.0, {torch.float32: 1.0, torch.bfloat16: 70.0}

    def product(self, other):
        nonlocal now
        now += seconds[self.dtype]

    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    monkeypatch.setattr(precision.time, "perf_counter", lambda: now)
    assert precision.bfloat16_cost() == 70.0


@pytest.mark.parametrize("wanted", ["float32", "bfloat16"])
def test_a_given_precision_is_only_timed(monkeypatch, setting, wanted):
    Bench(monkeypatch, of(1.0, 2.0), spoilt=("bfloat16",))
    choice = choose(*setting, Wanted(wanted, channels_last=True))
    assert choice.precision == wanted
    assert list(choice.seconds) == [wanted]


def test_the_faster_one_by_the_clock_is_taken(monkeypatch, setting):
    """Real steps; the clock is told that those in bfloat16 take a second and the others three."""
    segmenter = setting[0]
    now = 0.0
    step_of = precision.train_step

    def slow(trial, *arguments):
        step = step_of(trial, *arguments)

        def counted(*batch):
            nonlocal now
            now += 1.0 if trial.precision == "bfloat16" else 3.0
            return step(*batch)

        return counted

    monkeypatch.setattr(precision, "train_step", slow)
    monkeypatch.setattr(precision.time, "perf_counter", lambda: now)
    before = copy.deepcopy(segmenter.model.state_dict())
    choice = choose(*setting, LAST)
    assert (choice.precision, choice.step_seconds) == ("bfloat16", 1.0)
    assert segmenter.precision == "float32"
    for key, value in segmenter.model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(p.grad is None for p in segmenter.model.parameters())


@pytest.mark.parametrize(("first", "chosen"), [(0.9, False), (0.97, True), (1.2, True)])
def test_channels_first_is_taken_where_it_is_faster(monkeypatch, setting, first, chosen):
    bench = Bench(monkeypatch, of(1.0, 2.0, first))
    choice = choose(*setting)
    assert len(set(bench.tried)) == 4
    assert (choice.precision, choice.channels_last) == ("bfloat16", chosen)
    assert choice.step_seconds == (1.0 if chosen else first)
    assert choice.seconds == {
        "bfloat16": 1.0,
        "float32": 2.0,
        "bfloat16, channels first": first,
        "float32, channels first": 2.0 * first,
    }
    assert ("channels first" in choice.reason) is not chosen


def test_each_precision_is_judged_in_its_best_layout(monkeypatch, setting):
    """As measured for DeepLabV3+: bfloat16 is better channels-first, float32 channels-last."""
    seconds = {("float32", True): 1.0, ("float32", False): 1.2, ("bfloat16", True): 0.95, ("bfloat16", False): 0.8}
    Bench(monkeypatch, seconds)
    choice = choose(*setting)
    assert (choice.precision, choice.channels_last) == ("bfloat16", False)
    assert choice.reason == "1.25 times as fast as float32 here; channels first: 1.19 times as fast"


def test_threads_are_halved_as_long_as_it_helps(monkeypatch, setting):
    """As in a container that sees many cores and may use few."""
    monkeypatch.setattr(precision, "usable_threads", lambda _: 16)
    bench = Bench(monkeypatch, of(2.0, 1.0), {16: 1.0, 8: 0.5, 4: 0.4, 2: 0.39})
    choice = choose(*setting, LAST)
    assert {way.threads for way in bench.tried} == {16, 8, 4, 2}
    assert {way.threads for way in bench.tried if way.precision == "float32"} == {4}
    assert choice.threads == 4 and choice.most == 16 and choice.step_seconds == 0.4
    assert "4 threads: 2.50 times as fast as 16 now" in choice.reason
    assert {name: seconds for name, seconds in choice.seconds.items() if "thread" in name} == {
        "16 threads": 2.0,
        "8 threads": 1.0,
        "4 threads": 0.8,
        "2 threads": 0.78,
    }
    assert torch.get_num_threads() == THREADS


@pytest.mark.parametrize(("alone", "chosen"), [(0.6, 1), (1.8, 2)])
def test_one_thread_of_two_is_tried(monkeypatch, setting, alone, chosen):
    monkeypatch.setattr(precision, "usable_threads", lambda _: 2)
    Bench(monkeypatch, of(1.0, 2.0), {2: 1.0, 1: alone})
    assert choose(*setting, LAST).threads == chosen


def test_what_the_config_fixes_is_not_tried(monkeypatch, setting):
    bench = Bench(monkeypatch, of(1.0, 2.0, 0.1))
    choice = choose(*setting, Wanted("bfloat16", channels_last=True, threads=5))
    assert set(bench.tried) == {Way("bfloat16", True, 5)} and (choice.threads, choice.most) == (5, 1)


# The four networks of decision 9, in milliseconds of a step.
NETWORKS = {
    "Segformer": ((332, 321, 215, 214), ("bfloat16", True)),
    "Unet": ((413, 491, 284, 335), ("bfloat16", True)),
    "DeepLabV3Plus": ((814, 830, 556, 495), ("bfloat16", False)),
    "UNet": ((1159, 1319, 612, 689), ("bfloat16", True)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_choice_is_that_of_a_quiet_machine_when_steps_are_disturbed(monkeypatch, setting, name):
    """Three of ten steps take 1.5 to 10 times as long, as beside busy programs."""
    milliseconds, quiet = NETWORKS[name]
    ways = [("float32", True), ("float32", False), ("bfloat16", True), ("bfloat16", False)]
    seconds = dict(zip(ways, (value / 1000 for value in milliseconds), strict=True))
    right = 0
    for seed in range(100):
        Bench(monkeypatch, seconds, stalled=0.3, seed=seed)
        choice = choose(*setting)
        right += (choice.precision, choice.channels_last) == quiet
    assert right >= 95


@pytest.mark.parametrize("last", [True, False])
def test_a_choice_is_applied_to_model_and_images(setting, last):
    segmenter, *_ = setting
    precision.StepChoice("bfloat16", 0.0, "", {}, last, 1).apply(segmenter)
    layout = torch.channels_last if last else torch.contiguous_format
    assert segmenter.precision == "bfloat16"
    assert segmenter.normalise(setting[2]).is_contiguous(memory_format=layout)
    assert all(value.is_contiguous(memory_format=layout) for value in segmenter.model.parameters() if value.ndim == 4)


def test_settings_for_speed_are_taken_back():
    def settings():
        tiny = torch.tensor([1e-40]) + 0
        return (
            float(tiny) == 0,
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.allow_tf32,
            torch.backends.cudnn.benchmark,
            torch.get_num_threads(),
        )

    before = settings()
    with fast_arithmetic():
        assert settings()[1:4] == ("high", True, True)
        torch.set_num_threads(2)
    assert settings() == before


def test_a_loss_that_is_not_finite_in_bfloat16_is_noticed(setting):
    segmenter, criterion, images, targets, groups = setting
    with torch.no_grad():
        segmenter.model.head.bias[0] = torch.nan
    choice = choose(segmenter, criterion, images, targets, groups, LAST)
    assert choice.precision == "float32"
    assert "finite" in choice.reason


def test_a_spoilt_copy_says_nothing_about_the_other_precision(monkeypatch, setting):
    """bfloat16 spoils the weights that both precisions share."""
    step_of = precision.train_step

    def spoiling(trial, *arguments):
        step = step_of(trial, *arguments)

        def spoilt(*batch):
            if trial.precision == "bfloat16":
                with torch.no_grad():
                    trial.model.head.bias[0] = torch.nan
            return step(*batch)

        return spoilt

    monkeypatch.setattr(precision, "train_step", spoiling)
    trials = Trials(*setting)
    for name in ("float32", "bfloat16", "float32"):
        trials(Way(name, True, 1))
    assert trials.spoilt == {Way("bfloat16", True, 1)}


def test_the_loss_of_an_auxiliary_head_is_added_with_its_weight(setting):
    _, criterion, images, targets, _ = setting
    spec = ModelSpec("UNetFCN", 2, args={"base": 4, "stages": 3, "head_dropout": 0.0, "aux_weight": 0.25})
    model = build_model(spec)
    segmenter = Segmenter(
        model.double(), spec, ClassTree.flat(["a", "b"]), Preprocessing(Geometry((16, 16)), (0.5,) * 3, (0.25,) * 3)
    )
    loss = step_loss(segmenter, criterion, images, targets)
    (_, main), (_, auxiliary) = model((images.double() - 127.5) / 63.75)
    cross_entropy = torch.nn.functional.cross_entropy
    torch.testing.assert_close(
        loss, cross_entropy(main, targets.long()) + 0.25 * cross_entropy(auxiliary, targets.long())
    )
    model.eval()
    logits = model((images.double() - 127.5) / 63.75)
    alone = step_loss(segmenter, criterion, images, targets)
    torch.testing.assert_close(alone, cross_entropy(logits, targets.long()))


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_the_step_is_the_gradient_step_it_says(setting, name):
    """`train_step` against the same step written out, to the bit: the same operations on the same numbers. (Adam would
    make a whole step of a gradient that is only rounding.)"""
    segmenter, criterion, images, targets, groups = setting
    segmenter.precision = name
    mine, other = segmenter.model.train(), copy.deepcopy(segmenter.model).train()
    torch.manual_seed(0)
    loss = train_step(segmenter, criterion, build_optimizer(mine, segmenter.spec, groups))(images, targets)
    torch.manual_seed(0)
    optimizer = build_optimizer(other, segmenter.spec, groups)
    with torch.autocast("cpu", torch.bfloat16, enabled=name == "bfloat16"):
        logits = other(segmenter.normalise(images))
    expected = torch.nn.functional.cross_entropy(logits.float(), targets.long())
    expected.backward()
    optimizer.step()
    assert not loss.requires_grad
    assert torch.equal(loss, expected.detach())
    for (key, value), wanted in zip(mine.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(value, wanted), key
