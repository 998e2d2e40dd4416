"""Runs the numeric tests as other processors would: `make test-cpus`, `python tools/cpus.py [--only NAME] [TEST...]`.

The libraries choose their code by the processor, and other code adds in another order. Environment variables make them
take the code for lesser processors; a setting for what this processor does not have is skipped, and said to be.
Ends with 1 when a test fails under any setting, or none could be run.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HOME = Path(__file__).parent.parent
CPUINFO = Path("/proc/cpuinfo")
NUMERIC = [
    "evaluation/comparing/test_inference.py",
    "evaluation/metrics",
    "inference",
    "labels/suspecting",
    "modeling",
    "training",
]
KERNELS = "import torch; print(torch.backends.cpu.get_cpu_capability())"


@dataclass(frozen=True)
class Setting:
    """Environment variables, the flags (as Linux lists them) that a processor needs for them, and whether all runs on
    one core."""

    meaning: str
    environment: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    one_core: bool = False


SETTINGS = {
    "as it is": Setting("whatever the libraries choose here"),
    "oldest": Setting(
        "code for any x86-64 processor, no fused multiply-add, on one core",
        {
            "MKL_CBWR": "COMPATIBLE",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "ATEN_CPU_CAPABILITY": "default",
            "OPENBLAS_CORETYPE": "Nehalem",
            "OPENCV_IPP": "disabled",
            "OPENCV_LOG_LEVEL": "ERROR",  # it warns of the line above
        },
        one_core=True,
    ),
    "avx2": Setting(
        "code for AVX2, two threads",
        {
            "MKL_CBWR": "AVX2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "ATEN_CPU_CAPABILITY": "avx2",
            "OPENBLAS_CORETYPE": "Haswell",
            "MASKWRIGHT_TEST_THREADS": "2",
        },
        ("avx2", "fma"),
    ),
    "avx512": Setting(
        "code for AVX-512, without AMX",
        {
            "MKL_CBWR": "AVX512",
            "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
            "ATEN_CPU_CAPABILITY": "avx512",
            "OPENBLAS_CORETYPE": "SkylakeX",
        },
        ("avx512f", "avx512bw", "avx512dq", "avx512vl"),
    ),
}


def lacking(setting: Setting) -> str:
    """Why the setting cannot be tried here; empty when it can."""
    if setting.environment and platform.machine().lower() not in ("x86_64", "amd64"):
        return f"it is for x86-64, and this is {platform.machine()}"
    if setting.one_core and not hasattr(os, "sched_setaffinity"):
        return "this system binds no process to one core"
    flags = set(re.findall(r"\w+", CPUINFO.read_text())) if CPUINFO.exists() else set()
    missing = [flag for flag in setting.needs if flag not in flags]
    if missing:
        return f"this processor has no {', '.join(missing)}, or does not say so"
    return ""


def run(setting: Setting, tests: Sequence[str]) -> tuple[str, list[str], int]:
    """The kernels that torch chose, the tests that failed, and the exit code of pytest."""
    environment = os.environ | setting.environment
    pin = (lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})) if setting.one_core else None

    def start(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=HOME,
            env=environment,
            preexec_fn=pin,
            text=True,
            check=False,
            stdout=subprocess.PIPE,
        )

    kernels = start("-c", KERNELS).stdout.strip()
    done = start("-m", "pytest", "-q", "-rfE", "--tb=short", "-p", "no:cacheprovider", *tests)
    print(done.stdout, flush=True)
    return kernels, re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.M), done.returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs all settings, prints which tests failed under which, and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SETTINGS, action="append", help="this setting (may be repeated)")
    parser.add_argument("tests", nargs="*", help="what pytest is to run; the numeric tests if left out")
    given = parser.parse_args(arguments)
    tests = given.tests or [str(Path("tests") / name) for name in NUMERIC]
    lines, codes = [], []
    for name in given.only or SETTINGS:
        setting = SETTINGS[name]
        if reason := lacking(setting):
            lines.append(f"{name}: SKIPPED, {reason}")
            continue
        print(f"== {name}: {setting.meaning}", flush=True)
        kernels, failed, code = run(setting, tests)
        codes.append(code)
        verdict = "passed" if not code else f"{len(failed)} failed" if failed else f"pytest ended with code {code}"
        lines += [f"{name} ({setting.meaning}; torch: {kernels}): {verdict}", *(f"  {test}" for test in failed)]
    print("\n".join(["", "Numeric tests by setting:", *lines]))
    return int(any(codes) or not codes)


if __name__ == "__main__":
    sys.exit(main())
