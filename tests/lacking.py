"""A process that lacks what Windows lacks, as far as that can be taken away: run a script by `run_lacking`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Libraries are loaded before: those that are installed here were built for this system.
PRELUDE = """
import importlib.util, importlib.abc, os, select, signal, subprocess, sys, tempfile, types, warnings
import fcntl, multiprocessing.connection, multiprocessing.context, multiprocessing.reduction, multiprocessing.shared_memory
import concurrent.futures, glob, shutil, zipfile, importlib.metadata, logging, uuid, socket
import asyncio, fastapi, fastapi.responses, fastapi.testclient, uvicorn
import cc3d, cv2, jinja2, numpy, PIL.Image, psutil, pydantic, rich.console, rich.progress, typer, typer.testing, yaml
PIL.Image.init()
import sysconfig
sysconfig.get_config_vars()
if {torch}:
    import safetensors.torch, segmentation_models_pytorch, timm, torch, torchvision, torch.utils.data
    from torch import distributed


class ReportedRun(types.ModuleType):
    LK_NBLCK = 2

    def locking(self, descriptor, mode, number, flock=fcntl.flock, flags=fcntl.LOCK_EX | fcntl.LOCK_NB):
        # The real one forbids others to read what is locked.
        assert mode == self.LK_NBLCK and number == 1 and os.lseek(descriptor, 0, os.SEEK_CUR) > 100
        try:
            flock(descriptor, flags)
        except BlockingIOError:
            raise PermissionError(13, "Permission denied") from None


sys.modules["msvcrt"] = ReportedRun("msvcrt")
LACKING = {{"fcntl", "grp", "pty", "pwd", "resource", "termios"}}
TRAINING = set() if {torch} else {{"safetensors", "segmentation_models_pytorch", "sklearn", "timm", "torch", "torchvision"}}
for name in LACKING:
    sys.modules.pop(name, None)


class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in LACKING | TRAINING:
            raise ModuleNotFoundError(f"no module {{name}}", name=name)


sys.meta_path.insert(0, Blocked())
for name in ("sched_getaffinity", "register_at_fork", "pread", "pwrite", "sync", "fork", "O_DIRECTORY", "O_NOFOLLOW",
             "O_CLOEXEC", "getuid", "geteuid", "nice", "killpg", "getpgid", "setsid", "uname", "mkfifo"):
    delattr(os, name)
for name in ("SIGALRM", "SIGKILL", "SIGHUP", "setitimer", "pthread_sigmask", "alarm"):
    delattr(signal, name)


def open_no_folder(path, flags, *more, open_file=os.open, **named):
    if "dir_fd" not in named and os.path.isdir(path) and sys._getframe(1).f_globals["__name__"].startswith("maskwright"):
        raise PermissionError(13, "Permission denied", path)
    return open_file(path, flags, *more, **named)


os.open = open_no_folder
sys.platform = "win32"
# What does not name its encoding would be read and written as the machine's country has it.
warnings.filterwarnings("error", category=EncodingWarning, module="maskwright")
"""


def run_lacking(script: str, *arguments: str | Path, torch: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs the script as that process; its output is kept."""
    return subprocess.run(
        [
            sys.executable,
            "-X",
            "warn_default_encoding",
            "-c",
            PRELUDE.format(torch=torch) + script,
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
