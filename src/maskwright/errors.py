"""The one exception tree. The process exit code of an error lives on its class.

Every message reads `where: what is wrong; what to do`. The command line prints it in one line per
problem and exits with the code; no traceback is shown unless `--debug` is given.
"""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 1500


def one_line(text: str) -> str:
    """`text` for a terminal, whatever file its parts came from: what is not printable (line breaks, and what steers a
    terminal) is shown as an escape, and the middle of more than 1,500 characters is left out."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


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
    """Another process owns the folder; its pid is in the message."""

    exit_code = 5


class LostError(SetupError):
    """Another process of the same training has ended or does not answer."""


class Interrupted(MaskwrightError):
    """Stopped by the user; the state on disk is complete and the message says how to go on."""

    exit_code = 130
