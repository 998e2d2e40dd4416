"""The command line: parse, call one function, print. Heavy imports happen inside the verbs.

Results go to stdout (`--json`: one JSON document), everything else to stderr.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import MutableMapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TextIO

import typer

from maskwright import __version__
from maskwright.base.extras import require_train
from maskwright.cli import data, models, quality, results, reviewing, serving
from maskwright.cli.shared import Json, show
from maskwright.errors import MaskwrightError, speak_options

# Typer brings its own copy of click; this is the one public way to the base of its usage errors.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="From a folder of images with few and imperfect masks to a segmentation model that can be trusted.",
)
_state = {"debug": False}


def _version(asked: bool) -> None:
    if asked:
        print(f"maskwright {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    _state["debug"] = debug


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the data, the run and the report.")] = Path("demo"),
    budget: Annotated[str, typer.Option("--budget", help="Wall time of the training.")] = "155s",
    subject: Annotated[
        str,
        typer.Option("--subject", help="What images show: animals, hidden_animals (hard to see), people (body parts)."),
    ] = "animals",
    images: Annotated[int, typer.Option("--images", help="How many images.")] = 200,
    size: Annotated[int, typer.Option("--size", help="Height and width of images, in pixels.")] = 256,
    planted: Annotated[int, typer.Option("--planted", help="How many training masks are made wrong.")] = 15,
    seed: Annotated[int, typer.Option("--seed", help="Random seed.")] = 0,
    only_data: Annotated[
        bool, typer.Option("--only-data", help="Only write the dataset, into the folder of --out itself.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Generate a dataset and run the whole line on it, in a few minutes."""
    if only_data:
        from maskwright.demonstration.demo import demo_data

        found = demo_data(out, subject=subject, images=images, size=size, planted=planted, seed=seed)
        wrong = {"data": str(out), "planted": [asdict(one) for one in found]}
        show(wrong, as_json, lambda: f"next: maskwright audit {shlex.quote(str(out))}")
        return
    require_train()
    from maskwright.demonstration.demo import demo

    result = demo(out, budget=budget, subject=subject, images=images, size=size, planted=planted, seed=seed)
    show(result.to_dict(), as_json, lambda: result.human())


VERBS = (
    data.fetch,
    data.init,
    data.audit,
    quality.suspects,
    quality.decide,
    reviewing.review,
    data.convert,
    reviewing.import_edits,
    data.split,
    data.edits,
    models.plan,
    models.train,
    models.resume,
    results.evaluate,
    results.compare,
    results.explain,
    models.study,
    models.search,
    quality.refine,
    quality.next,
    results.predict,
    results.tune,
    results.export,
    serving.serve,
    models.sync,
    results.report,
    results.plot,
    models.weights,
    models.doctor,
    demo,
)
for _verb in VERBS:
    app.command(_verb.__name__.replace("_", "-"))(_verb)


def wait_politely(environment: MutableMapping[str, str]) -> None:
    """Lets torch's threads sleep soon when they wait for each other, unless the user has decided on it.

    By default they spin for milliseconds: beside one busy program on two cores a training step then takes three
    times as long (docs/decisions/0005). It must be set before torch is loaded.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & environment.keys():
        environment["GOMP_SPINCOUNT"] = "10000"


def print_anything(*streams: TextIO | None) -> None:
    """Lets texts that the encoding of a terminal, file or pipe does not hold be printed as escapes (\\xe9), not as an
    error: names of classes and files are in any language."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits with the code of the contract (see `maskwright.errors`)."""
    print_anything(sys.stdout, sys.stderr)
    warnings.filterwarnings("ignore")  # libraries' notes are not for users; findings and errors are ours to say
    wait_politely(os.environ)
    before = speak_options(True)
    try:
        code = app(arguments, standalone_mode=False, prog_name="maskwright")
    except MaskwrightError as error:
        if _state["debug"]:
            traceback.print_exc()
        if not error.quiet:
            print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        code = error.exit_code
    except UsageError as error:
        error.show(sys.stderr)  # type: ignore[attr-defined]
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:  # `maskwright … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
    except Exception as error:
        if _state["debug"]:
            traceback.print_exc()
        print(
            f"error: unexpected {type(error).__name__}: {error}; a defect in maskwright: please report it with the "
            "output of the same command with --debug before the verb",
            file=sys.stderr,
        )
        code = 1
    finally:
        speak_options(before)
    sys.exit(code if isinstance(code, int) else 0)
