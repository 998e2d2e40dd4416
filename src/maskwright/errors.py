"""The one exception tree. The process exit code of an error lives on its class.

Every message reads `where: what is wrong; what to do`. The command line prints it in one line per
problem and exits with the code; no traceback is shown unless `--debug` is given. A message that speaks of an argument
names it by `argument`: as its reader gives it, in Python or on the command line.
"""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 1500
_speaks_options = False


def one_line(text: str) -> str:
    """`text` for a terminal, whatever file its parts came from: what is not printable (line breaks, and what steers a
    terminal) is shown as an escape, and the middle of more than 1,500 characters is left out."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


def speak_options(on: bool) -> bool:
    """Whether messages name command-line options from now on, in the whole process; returns what held before."""
    global _speaks_options
    before, _speaks_options = _speaks_options, on
    return before


def argument(name: str, option: str = "") -> str:
    """The argument `name` in a message: `min_score` in backticks for a caller in Python; for the command line the
    `option`, which is `--min-score` when left out."""
    if not _speaks_options:
        return f"`{name}`"
    return option or "--" + name.replace("_", "-")


class MaskwrightError(Exception):
    """Base of all errors that are meant for the user."""

    exit_code = 1
    quiet = False  # another process says it

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class ConfigError(MaskwrightError):
    """Wrong usage or configuration. Carries every problem found, not only the first."""

    exit_code = 2

    def __init__(self, problems: str | Iterable[str]) -> None:
        # Text with line breaks is what another process sent.
        self.problems = [*map(one_line, problems.split("\n") if isinstance(problems, str) else problems)]
        Exception.__init__(self, "\n".join(self.problems))


class DataError(MaskwrightError):
    """Images, masks or annotation files that cannot be used as they are."""

    exit_code = 3


class SetupError(MaskwrightError):
    """The environment is missing something: an extra, disk space, weights, a device."""

    exit_code = 4


class LockedError(MaskwrightError):
    """Another process owns the folder; its pid is in the message. Or another thread of this process trains."""

    exit_code = 5


class LostError(SetupError):
    """Another process of the same training has ended or does not answer."""


class Interrupted(MaskwrightError):
    """Stopped by the user; the state on disk is complete and the message says how to go on."""

    exit_code = 130
