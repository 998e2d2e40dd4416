"""Mutated files for every reader: `python -m fuzz.readers [--cases 2000] [--seed 0] [FORM...]` in the folder of the tests.

A case mutates one to three files of a good folder, opens it, and reads every image and mask; of every eighth it makes
an audit. What may come of it is a dataset whose samples are read or refused, or one of our own errors in one line:
nothing else, in little time and memory.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from broken.folders import GOOD
from fuzz.mutations import mutation_of
from maskwright.data.auditing import audit
from maskwright.data.formats.archives import pack, unpacked
from maskwright.data.formats.hf_parquet import pictures_unpacked
from maskwright.data.opening import load_dataset
from maskwright.errors import MaskwrightError

# Zip archives of these forms are read too.
ZIPPED = ("coco", "cvat_masks", "cvat_images")
FORMS = (*GOOD, *(f"{form}.zip" for form in ZIPPED))
_SECONDS = 10.0  # of processor time for a case
_MEMORY = 5 << 30  # of addresses that a case may add; images of up to 178 million pixels are decoded
_CHUNK = 250


class TooSlow(BaseException):
    """Raised by the clock; nothing may catch it."""


@dataclass
class Tally:
    """What came of the cases of one form: `accepted` as a whole, `partly` with samples that are refused, `refused` as a
    whole; `unexpected` holds the others."""

    cases: int = 0
    accepted: int = 0
    partly: int = 0
    refused: int = 0
    audited: int = 0
    unexpected: list[str] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    memory: int = 0  # MiB, the most of a process

    def add(self, other: Tally) -> None:
        """Sums, but for memory."""
        for name in ("cases", "accepted", "partly", "refused", "audited"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.unexpected += other.unexpected
        self.errors += other.errors
        self.memory = max(self.memory, other.memory)

    def line(self, form: str) -> str:
        """A row of the report."""
        return (
            f"{form:16} {self.cases:6} cases: {self.accepted:6} read, {self.partly:6} in part, {self.refused:6} refused "
            f"({len(self.errors)} messages), {self.audited:5} audited, {len(self.unexpected)} unexpected; "
            f"at most {self.memory} MiB"
        )


def fuzz(form: str, cases: int, seed: int = 0, first: int = 0) -> Tally:
    """Runs `cases` cases of a form from the number `first` on, in processes of a few hundred each: one that dies is
    itself unexpected, and the next goes on behind its case."""
    total = Tally()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home:
        good = Path(home, "good")
        GOOD[form.removesuffix(".zip")](good)
        if form.endswith(".zip"):
            (good / "dataset.yaml").unlink()
            pack(good, Path(home, "good.zip"))
        number, end = first, first + cases
        while number < end:
            number = _chunk(form, Path(home), range(number, min(number + _CHUNK, end)), seed, total)
    return total


def _chunk(form: str, home: Path, numbers: range, seed: int, total: Tally) -> int:
    """Runs some cases in a process; returns the number of the next case."""
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    child = context.Process(target=_serve, args=(form, home, numbers, seed, send))
    child.start()
    send.close()
    current = numbers.start
    try:
        while True:
            message = receive.recv()
            if isinstance(message, int):
                current = message
            else:
                total.add(message)
                return numbers.stop
    except EOFError:
        child.join()
        total.add(
            Tally(cases=1, unexpected=[f"{form}, case {current}, seed {seed}: process ended with {child.exitcode}"])
        )
        return current + 1
    finally:
        child.join()


def _serve(form: str, home: Path, numbers: range, seed: int, send: Connection) -> None:
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what C libraries say about broken files
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))
    signal.signal(signal.SIGPROF, _stop)
    work = home / f"work-{os.getpid()}"
    work.mkdir()
    tempfile.tempdir = str(work)
    tally = Tally()
    for number in numbers:
        send.send(number)
        run_case(form, home, work, number, seed, tally)
    tally.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    shutil.rmtree(work)
    send.send(tally)
    send.close()


def _stop(*_: object) -> None:
    raise TooSlow


def run_case(form: str, home: Path, work: Path, number: int, seed: int, tally: Tally) -> None:
    """One case, told from `number` and `seed` alone."""
    rng = np.random.default_rng([seed, FORMS.index(form), number])
    target = mutated(home, work, form, rng)
    tally.cases += 1
    signal.setitimer(signal.ITIMER_PROF, _SECONDS)
    try:
        with unpacked(target) as outer, pictures_unpacked(outer) as folder:
            refusals = list(_read(folder, tally if number % 8 == 0 else None))
        tally.partly += bool(refusals)
        tally.accepted += not refusals
    except MaskwrightError as error:
        refusals = [error]
        tally.refused += 1
    except (Exception, TooSlow):
        refusals = []
        tally.unexpected.append(f"{form}, case {number}, seed {seed}: {traceback.format_exc(limit=-4)}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    for refusal in refusals:
        if any(map(_odd, str(refusal).split("\n"))):  # a line for each problem in `dataset.yaml`
            tally.unexpected.append(f"{form}, case {number}, seed {seed}: an odd message: {str(refusal)[:500]!a}")
        tally.errors[type(refusal).__name__ + str(refusal).rpartition("; ")[2][:60]] += 1
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    if number % 50 == 0:
        gc.collect()


def mutated(home: Path, work: Path, form: str, rng: np.random.Generator) -> Path:
    """A copy of the good folder or archive with one to three files mutated; of folders half have no `dataset.yaml`."""
    if form.endswith(".zip"):
        target = work / "case.zip"
        target.write_bytes(mutation_of("x.zip", rng)((home / "good.zip").read_bytes(), rng))
        return target
    target = work / "case"
    shutil.copytree(home / "good", target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    pictures = [path for path in files if path.suffix in (".png", ".jpg")]
    others = [path for path in files if path not in pictures and path.name != "dataset.yaml"]
    if rng.random() < 0.5:
        (target / "dataset.yaml").unlink(missing_ok=True)
    elif rng.random() < 0.1 and (target / "dataset.yaml").exists():
        others = [target / "dataset.yaml"]
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        group = others if others and (rng.random() < 0.7 or not pictures) else pictures
        path = group[int(rng.integers(len(group)))]
        path.write_bytes(mutation_of(path.name, rng)(path.read_bytes(), rng))
    return target


def _read(folder: Path, audited: Tally | None) -> Iterator[MaskwrightError]:
    """Opens a folder and reads all of it; yields why samples are refused."""
    dataset = load_dataset(folder)
    assert not any(_odd(finding.message) for finding in dataset.notes)
    for sample in dataset.samples:
        assert sample.image.resolve().is_relative_to(folder.resolve()), sample
        try:
            if sample.labelled:
                image, mask = dataset.read(sample)
                assert image.shape == (*mask.shape, 3) and image.dtype == mask.dtype == np.uint8
                present = np.unique(mask)
                assert ((present < len(dataset.classes)) | (present == 255)).all()
            else:
                dataset.read_image(sample)
        except MaskwrightError as error:
            yield error
    if audited is not None:
        for finding in audit(dataset, workers=1, progress=False).findings:
            assert not _odd(finding.message), finding
        audited.audited += 1


def _odd(message: str) -> bool:
    """Whether it is no line for a user to read."""
    return not message.isprintable() or len(message) > 1510


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns how many cases were unexpected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("forms", nargs="*", metavar="FORM", help=f"of {', '.join(FORMS)}")
    parser.add_argument("--cases", type=int, default=2000, help="for each form")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to run one again")
    options = parser.parse_args(arguments)
    total = Tally()
    for form in options.forms or FORMS:
        tally = fuzz(form, options.cases, options.seed, options.first)
        print(tally.line(form), *tally.unexpected[:5], sep="\n  ", flush=True)
        total.add(tally)
    print(total.line("all"))
    return len(total.unexpected)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
