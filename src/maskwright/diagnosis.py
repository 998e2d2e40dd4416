"""The verb `doctor`: what this machine and this installation can do, with a fix for what they cannot.

Nothing is written, and no examination may raise: one that fails becomes a row that says so.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import tempfile
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib import metadata, util
from pathlib import Path
from typing import Any, Literal

import psutil

from maskwright import __version__
from maskwright.base.display import Result
from maskwright.base.limits import cpu_limit, memory_left, memory_limit
from maskwright.base.workers import usable_cores
from maskwright.core.findings import Finding, summarise
from maskwright.errors import argument
from maskwright.evaluation.guarding import UNLEARNT, guard
from maskwright.evaluation.run_folders import find_runs
from maskwright.evaluation.scoring.evaluation import newest
from maskwright.modeling.models.packaged import PACKAGED
from maskwright.run import Run
from maskwright.training.doctor import examine, sentences

Status = Literal["ok", "warning", "missing"]

GIB = 1 << 30
_ABSENT = "not installed: "
_MIN_MEMORY, _MIN_SHM, _MIN_DISK = 2 * GIB, GIB // 4, GIB
CPUINFO = Path("/proc/cpuinfo")
# Instruction sets in which a processor multiplies bfloat16, as Linux lists them (x86, then ARM).
_BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:[^;]*?[>=]=\s*([\d.]+))?[^;]*(?:;.*extra\s*==\s*['\"]([\w-]+)['\"])?")


@dataclass(frozen=True)
class Probe:
    """One examination. `fix` says what to do about a `status` other than `ok`."""

    name: str
    value: str
    status: Status = "ok"
    fix: str = ""


@dataclass(frozen=True, repr=False)
class DoctorReport(Result):
    """All examinations, in a fixed order, and what was found about a run if one was given."""

    rows: list[Probe]
    findings: list[Finding] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `doctor`."""
        return {
            "version": __version__,
            "ok": all(row.status == "ok" for row in self.rows),
            "rows": [asdict(row) for row in self.rows],
        } | (
            {}
            if self.findings is None
            else {"findings": [finding.to_dict() for finding in self.findings], "summary": summarise(self.findings)}
        )

    def human(self) -> str:
        """As text for a terminal."""
        width = max(len(row.name) for row in self.rows)
        lines = []
        for row in self.rows:
            lines.append(f"{row.status:<7}  {row.name:<{width}}  {row.value}")
            if row.fix:
                lines.append(f"{'':<7}  {'':<{width}}  -> {row.fix}")
        if self.findings is not None:
            lines += ["", sentences(self.findings) or "no problem found in the log and the evaluations of the run"]
        return "\n".join(lines)

    def facts(self) -> dict[str, object]:
        """For the short forms."""
        states = dict[str, object](Counter(row.status for row in self.rows))
        return {**states, "findings": None if self.findings is None else len(self.findings)}


def doctor(run: str | Path | Run | None = None) -> DoctorReport:
    """Examines versions, extras, device, bfloat16, cores, memory, disk and pretrained weights, none of which raises;
    with a run, also how its training went (`training.doctor`) and whether its evaluations are better than a constant
    prediction. Of a folder of runs, such as a study, this is said of each run, by its name. DataError where there is no
    run."""
    findings = None
    if run is not None:
        path = run.path if isinstance(run, Run) else Path(run)
        runs = [one for one in find_runs([path])[0] if one.info_file.is_file()] or [Run.open(path)]
        findings = [
            replace(finding, message=f"{one.path.name}: {finding.message}") if len(runs) > 1 else finding
            for one in runs
            for finding in (*examine(one), *_unlearnt(one))
        ]
    return DoctorReport([row for name, look in EXAMINATIONS.items() for row in examine_safely(name, look)], findings)


def _unlearnt(run: Run) -> Iterator[Finding]:
    """What the guard says where the newest evaluation of a split is not better than a constant prediction: the rule by
    which `compare` and the report say it."""
    for split in run.evaluated_splits():
        if scored := newest(run, split):
            found = guard([scored.number(run.path.name, run)])
            yield from (
                replace(finding, message=f"{split}: {finding.message}") for finding in found if finding.code == UNLEARNT
            )


def examine_safely(name: str, look: Callable[[], Iterator[Probe]]) -> list[Probe]:
    """The rows of one examination; where it fails, one that says so."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return list(look())
    except Exception as error:
        why = f"could not be examined ({type(error).__name__}: {error})"
        return [Probe(name, why, "warning", "if it matters for your work, look at it by hand")]


# --- software --------------------------------------------------------------------------------------------


def _python() -> Iterator[Probe]:
    yield Probe("maskwright", __version__)
    yield Probe("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


@dataclass(frozen=True)
class Requirement:
    """A library with the least version that will do (empty: any) and the extra that asks for it (empty: none)."""

    name: str
    least: str
    extra: str


def requirements() -> list[Requirement]:
    """What the installed package asks for; for a checkout that is not installed, what its pyproject.toml does."""
    try:
        lines = metadata.requires("maskwright") or []
    except metadata.PackageNotFoundError:
        project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
        lines = [
            *project["dependencies"],
            *(
                f"{line}; extra == '{extra}'"
                for extra, items in project["optional-dependencies"].items()
                for line in items
            ),
        ]
    matches = filter(None, map(_REQUIREMENT.match, lines))
    return [Requirement(found[1], found[2] or "", found[3] or "") for found in matches]


def _libraries() -> Iterator[Probe]:
    needed = requirements()
    yield _library_row("libraries", [item for item in needed if not item.extra], "pip install --upgrade maskwright")
    extras = Counter(item.name for item in needed if item.extra)
    for extra in dict.fromkeys(item.extra for item in needed if item.extra):
        items = [item for item in needed if item.extra == extra]
        row = _library_row(f"extra {extra}", items, f"pip install --upgrade maskwright[{extra}]")
        # Only training is a part of the line; the other tools are a matter of choice. What several extras bring does
        # not tell which of them was chosen.
        own = [item for item in items if extras[item.name] == 1] or items
        yield replace(row, status="ok") if extra != "train" and not any(map(_installed, own)) else row


def _installed(item: Requirement) -> bool:
    try:
        return bool(metadata.version(item.name))
    except metadata.PackageNotFoundError:
        return False


def _library_row(name: str, needed: list[Requirement], fix: str) -> Probe:
    found, missing, old = [], [], []
    for item in needed:
        try:
            version = metadata.version(item.name)
        except metadata.PackageNotFoundError:
            missing.append(item.name)
            continue
        found.append(f"{item.name} {version}")
        if _numbers(version) < _numbers(item.least):
            old.append(f"{item.name} {version} is older than {item.least}")
    value = "; ".join(filter(None, [", ".join(found), _ABSENT + ", ".join(missing) if missing else "", *old]))
    return Probe(name, value, "missing" if missing else "warning" if old else "ok", fix if missing or old else "")


def _numbers(version: str) -> list[int]:
    """`2.6.0+cpu` as [2, 6, 0]."""
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]


def _weights() -> Iterator[Probe]:
    packages = [f"package {row.package}" for row in PACKAGED if row.version()]
    names: list[str] = []
    if util.find_spec("huggingface_hub") is not None:
        from huggingface_hub import CacheNotFound, scan_cache_dir

        with suppress(CacheNotFound):
            names = sorted(repo.repo_id for repo in scan_cache_dir().repos)
    found = [*packages, *(name for name in names if name.startswith(("timm/", "smp-hub/")))]
    how = (
        f"`{PACKAGED[0].command}`; `maskwright plan DIR --download` fetches those of another encoder, and a "
        ".safetensors file will do as well"
    )
    yield Probe("pretrained weights", ", ".join(found) or "none", fix="" if found else how)


# --- processor and device --------------------------------------------------------------------------------


def _device() -> Iterator[Probe]:
    if util.find_spec("torch") is None:
        yield Probe("device", "unknown without torch", "missing", "pip install maskwright[train]")
        return
    try:
        import torch
    except (ImportError, OSError) as error:  # a build for other libraries or another processor
        yield Probe("device", f"torch cannot be imported ({error})", "missing", "pip install --force-reinstall torch")
        return
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield Probe("device", "CUDA: " + ", ".join(names))
        brain = torch.cuda.is_bf16_supported(including_emulation=False)
        yield Probe("bfloat16 on the GPU", "supported" if brain else "no: training uses float32")
    elif Path("/proc/driver/nvidia/version").exists():
        yield Probe(
            "device",
            f"CPU: torch {torch.__version__} cannot use the NVIDIA driver that is here",
            "warning",
            "install a build of torch for the CUDA version of the driver",
        )
    else:
        yield Probe("device", "CPU" + (" (MPS is present but not used)" if torch.backends.mps.is_available() else ""))


def _bfloat16() -> Iterator[Probe]:
    if not CPUINFO.exists():
        yield Probe("bfloat16 on the CPU", "only Linux tells; training measures it")
        return
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", CPUINFO.read_text(), re.MULTILINE)
    found = [flag for flag in _BF16_FLAGS if lines and flag in lines[0].split()]
    yield Probe(
        "bfloat16 on the CPU",
        ", ".join(found) if found else "no: training measures, and uses float32",
        fix="" if found else "nothing to do; processors with avx512_bf16 or amx_bf16 train about twice as fast",
    )


def _cores() -> Iterator[Probe]:
    there = os.cpu_count() or 1
    usable, quota = usable_cores(), cpu_limit()
    value = f"{usable} of {there} usable" + (f", limited to {quota:g} by a control group" if quota < usable else "")
    few = min(usable, quota) < 2
    yield Probe(
        "cores",
        value,
        "warning" if few else "ok",
        "give the process two cores or more (docker: --cpus, taskset, the batch system)" if few else "",
    )


# --- memory and disk -------------------------------------------------------------------------------------


def _memory() -> Iterator[Probe]:
    memory = psutil.virtual_memory()
    limit = memory_limit()
    value = f"{_gib(memory.total)} in all, {_gib(memory.available)} free"
    if limit < memory.total:
        value += f", limited to {_gib(limit)} by a control group"
    low = min(memory_left(), limit) < _MIN_MEMORY
    yield Probe(
        "memory",
        value,
        "warning" if low else "ok",
        "close other programs, or set a smaller train.batch_size and data.image_size" if low else "",
    )


def _shared_memory() -> Iterator[Probe]:
    if sys.platform != "linux":
        yield Probe("/dev/shm", "not used on this system")
        return
    if not Path("/dev/shm").is_dir():
        yield Probe("/dev/shm", "none", "warning", "set train.workers to 0: loader processes pass batches through it")
        return
    usage = shutil.disk_usage("/dev/shm")
    low = usage.free < _MIN_SHM
    yield Probe(
        "/dev/shm",
        f"{_gib(usage.total)} in all, {_gib(usage.free)} free",
        "warning" if low else "ok",
        "docker: --shm-size=2g; or set train.workers to 0" if low else "",
    )


def _disk() -> Iterator[Probe]:
    for name, folder in (("working folder", Path.cwd()), ("temporary folder", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        if not os.access(folder, os.W_OK | os.X_OK):
            yield Probe(
                name,
                f"{folder}: not writable",
                "missing",
                f"go to a folder where you may write, or give {argument('out')}",
            )
        else:
            low = free < _MIN_DISK
            yield Probe(
                name,
                f"{folder}: {_gib(free)} free",
                "warning" if low else "ok",
                "free some space: a run takes some hundred MB" if low else "",
            )


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"


EXAMINATIONS: dict[str, Callable[[], Iterator[Probe]]] = {
    "python": _python,
    "libraries": _libraries,
    "device": _device,
    "bfloat16 on the CPU": _bfloat16,
    "cores": _cores,
    "memory": _memory,
    "/dev/shm": _shared_memory,
    "disk": _disk,
    "pretrained weights": _weights,
}
