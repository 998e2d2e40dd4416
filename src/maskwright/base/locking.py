"""The lock of an open file, as the operating system has it: `flock` on Linux and macOS, `msvcrt.locking` on Windows.

Both belong to the open file and end with it, so a process that is killed leaves no lock behind.
"""

from __future__ import annotations

import os

# On Windows what is locked cannot be read by others, so one byte far behind the content stands for the file.
_FAR = 1 << 30

try:
    import fcntl
except ImportError:
    import msvcrt

    def try_lock(descriptor: int, *, shared: bool = False) -> bool:
        """Takes the lock of the open file, `shared` with others that only look; False where another one has it.
        Windows does not share."""
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except PermissionError:
            return False
        return True
else:

    def try_lock(descriptor: int, *, shared: bool = False) -> bool:
        """Takes the lock of the open file, `shared` with others that only look; False where another one has it.
        Windows does not share."""
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
