"""What verbs share: arguments, and how a result is shown."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

if TYPE_CHECKING:
    from maskwright.core.findings import Finding

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Out = Annotated[Path | None, typer.Option("--out", help="Where the result goes; never overwritten.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=c", help="Change one value of the config; repeatable.")
]
Dir = Annotated[Path, typer.Argument(metavar="DIR", help="Dataset folder.", show_default=False)]
Selector = Annotated[
    Literal["leaf", "levels", "top_down"] | None,
    typer.Option("--selector", help="How the levels of a class tree are labelled; the run's own when left out."),
]
Postprocess = Annotated[
    bool,
    typer.Option("--postprocess/--no-postprocess", help="Whether masks are changed as `tune` has chosen for the run."),
]
FailOn = Annotated[
    Literal["error", "warning", "info", "never"],
    typer.Option("--fail-on", help="Exit with 1 when a finding is at least this severe, with 0 else; never: always 0."),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="auto (a CUDA GPU where there is one, else the CPU), cpu, cuda, cuda:1 or mps."),
]
On = Annotated[
    str | None,
    typer.Option("--on", help="Share the work: ray (this machine's Ray cluster, or a new local one), or ray:ADDRESS."),
]
RunDir = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.", show_default=False)]


def numbers(text: str | None, option: str) -> list[float]:
    """The numbers of a text such as `0.75,1`; none without a text."""
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise typer.BadParameter(f"{option} {text}: is no list of numbers; write it as 0.75,1") from None


def show(value: Any, as_json: bool, human: Callable[[], str]) -> None:
    """A result on stdout: as one JSON document, or as text for people."""
    from maskwright.base.progress import speaks
    from maskwright.base.storage import dump_json

    if not speaks():
        return
    if as_json:
        # JSON is UTF-8; a stream of another encoding gets it in ASCII, which both are.
        print(dump_json(value, indent=2, ascii_only=not is_utf8(sys.stdout)))
    elif text := human():
        # Names in files may hold what steers a terminal.
        print("".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text))


def is_utf8(stream: TextIO) -> bool:
    """Whether what is written to a stream of text becomes UTF-8."""
    return codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name == "utf-8"


def fail(findings: Iterable[Finding], fail_on: str) -> None:
    """Exits with 1 when one of the findings is at least as severe as `--fail-on` asks."""
    from maskwright.core.findings import Severity

    if fail_on != "never" and any(finding.severity >= Severity[fail_on.upper()] for finding in findings):
        raise typer.Exit(1)
