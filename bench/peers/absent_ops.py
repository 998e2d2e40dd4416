"""Stands for the compiled operations of mmcv, which its light package lacks. MMSegmentation imports them when it is
imported, for other networks than the two of the bench; neither of these calls one."""

from __future__ import annotations

import sys
import types
from typing import Any


class Absent(types.ModuleType):
    """Has every name, as a class that does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


sys.modules["mmcv.ops"] = Absent("mmcv.ops")
