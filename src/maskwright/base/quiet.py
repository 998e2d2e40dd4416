"""Warnings of libraries that are not for users, silenced for good.

`warnings.catch_warnings` changes a list of the whole process and sets it back when its block ends: threads whose blocks
overlap undo each other's, and one that ends last leaves what another one set. So a filter, which names the module that
warns, is put in front once and stays. Where other code has set the list back, a test for instance, it is put there
again.
"""

from __future__ import annotations

import threading
import warnings

_lock = threading.Lock()


def silence(module: str, category: type[Warning] = Warning) -> None:
    """Ignores warnings of `category` that come from a module whose name begins as the regular expression says."""
    if not _silenced(module, category):
        with _lock:
            if not _silenced(module, category):  # another thread may have been faster
                warnings.filterwarnings("ignore", category=category, module=module)


def _silenced(module: str, category: type[Warning]) -> bool:
    """Whether the filter is there, before any that could speak louder of these modules."""
    for action, message, kind, where, line in warnings.filters:
        if getattr(where, "pattern", where) == module and kind is category and action == "ignore" and not message:
            return True
        if action != "ignore" and not line and where is None and message is None:
            return False
    return False
