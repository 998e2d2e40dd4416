"""Runs the recipes with their small budgets, and checks that each ends with its pages and tables.

    python tools/recipes.py [NAME ...] [--size small] [--out FOLDER]

Each `recipes/NAME/pages.txt` lists what has to be there at the end, below the recipe's work folder. Exits with 1 where
something is missing. The command `maskwright` is the one beside the Python that runs this.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPES = Path(__file__).parents[1] / "recipes"


def missing(recipe: Path, work: Path) -> list[str]:
    """What the recipe promises and `work` does not have: no file, or an empty file or folder."""
    wanted = (recipe / "pages.txt").read_text("utf-8").split()
    there = (work / name for name in wanted)
    full = [any(path.iterdir()) if path.is_dir() else path.is_file() and path.stat().st_size > 0 for path in there]
    return [name for name, found in zip(wanted, full, strict=True) if not found]


def run(name: str, size: str, out: Path) -> bool:
    """Runs one recipe; whether it ended well, with all that it promises."""
    recipe, work = RECIPES / name, out / name
    work.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    began = time.monotonic()
    with (out / f"{name}.log").open("w") as log:
        code = subprocess.run(
            [recipe / "run.sh", size, work], env={**os.environ, "PATH": path}, stdout=log, stderr=subprocess.STDOUT
        ).returncode
    absent = missing(recipe, work)
    said = f"exit code {code}, see {out / name}.log" if code else f"without {', '.join(absent)}" if absent else "ok"
    print(f"{name:10} {time.monotonic() - began:5.0f} s  {said}", flush=True)
    return code == 0 and not absent


def main() -> None:
    """Runs those that are named, or all."""
    known = sorted(path.parent.name for path in RECIPES.glob("*/run.sh"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*known, []], metavar="NAME")
    parser.add_argument("--size", choices=["small", "cpu", "full"], default="small")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    out = given.out or Path(tempfile.mkdtemp(prefix="recipes-"))
    print(f"recipes folder: {out}")
    ends = [run(name, given.size, out) for name in given.names or known]
    sys.exit(0 if all(ends) else 1)


if __name__ == "__main__":
    main()
