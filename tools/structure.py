"""Counts of the house: `python tools/structure.py [CHECKOUT]` prints how it is built, as JSON.

A wing is what stands directly in `src/maskwright`, a room is any folder of modules. Imports are counted once for each
pair, wherever they stand in a file; those for type checkers alone are left out.
"""

from __future__ import annotations

import ast
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "maskwright"
LONG = 300
# Underscores that are no private names.
PUBLIC = {"_asdict", "_replace", "_fields", "_exit"}


def modules(source: Path) -> dict[str, Path]:
    """Dotted names, and the files that they stand in."""
    found = {}
    for file in sorted((source / PACKAGE).rglob("*.py")):
        parts = file.relative_to(source).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def _for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _imports(node: ast.AST) -> Iterator[tuple[str, str | None]]:
    for child in ast.iter_child_nodes(node):
        if _for_type_checkers(child):
            continue
        if isinstance(child, ast.ImportFrom) and child.module and child.module.split(".")[0] == PACKAGE:
            yield from ((child.module, alias.name) for alias in child.names)
        elif isinstance(child, ast.Import):
            yield from ((alias.name, None) for alias in child.names if alias.name.split(".")[0] == PACKAGE)
        yield from _imports(child)


def edges(known: dict[str, Path]) -> set[tuple[str, str]]:
    """Pairs of modules of which the first imports the second."""
    found = set()
    for module, file in known.items():
        for base, name in _imports(ast.parse(file.read_text("utf-8"))):
            imported = f"{base}.{name}" if f"{base}.{name}" in known else base
            if imported != module:
                found.add((module, imported))
    return found


def between(pairs: set[tuple[str, str]], part: dict[str, str]) -> set[tuple[str, str]]:
    """The pairs of parts of the house of which one imports the other; `part` has that of each module."""
    return {(part[a], part[b]) for a, b in pairs if part[a] != part[b] and PACKAGE not in (part[a], part[b])}


def circles(pairs: set[tuple[str, str]]) -> list[list[str]]:
    """Pairs of parts that import each other both ways."""
    return sorted([a, b] for a, b in pairs if a < b and (b, a) in pairs)


def defined_twice(known: dict[str, Path], kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> dict[str, list[str]]:
    """Public names of that kind that are defined in more than one module."""
    where = defaultdict(list)
    for module, file in known.items():
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, kind) and not node.name.startswith("_"):  # type: ignore[attr-defined]
                where[node.name].append(module.removeprefix(f"{PACKAGE}."))  # type: ignore[attr-defined]
    return {name: places for name, places in sorted(where.items()) if len(places) > 1}


def forms_of_human(known: dict[str, Path]) -> dict[str, int]:
    """How often text for people is made by a method `human`, and how often by a function."""
    counts = {"methods": 0, "functions": 0}
    for file in known.values():
        tree = ast.parse(file.read_text("utf-8"))
        functions = {id(node) for node in tree.body}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name == "human":
                counts["functions" if id(node) in functions else "methods"] += 1
    return counts


def private_in_tests(tests: Path) -> list[str]:
    """Private names of the package that tests import or reach into."""
    found = []
    for file in sorted(tests.rglob("*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        ours = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
                names = [alias.name for alias in node.names if alias.name.startswith("_") and alias.name[:2] != "__"]
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ours:
                private = node.attr.startswith("_") and node.attr[:2] != "__" and node.attr not in PUBLIC
                names = [node.attr] if private else []
            elif (
                isinstance(node, ast.Call)
                and len(node.args) > 1
                and isinstance(node.args[0], ast.Name)
                and node.args[0].id in ours
                and isinstance(node.args[1], ast.Constant)
            ):
                value = node.args[1].value  # monkeypatch.setattr(module, "_name", ...)
                names = [value] if isinstance(value, str) and value.startswith("_") and value[:2] != "__" else []
            else:
                continue
            found += [f"{file.relative_to(tests)}:{node.lineno} {name}" for name in names]
    return found


def counts(checkout: Path) -> dict[str, object]:
    """Everything that is counted."""
    known = modules(checkout / "src")
    pairs = edges(known)
    wing = {module: ".".join(module.split(".")[:2]) for module in known}
    room = {
        module: module if file.name == "__init__.py" or module.count(".") == 1 else module.rpartition(".")[0]
        for module, file in known.items()
    }
    wings, rooms = between(pairs, wing), between(pairs, room)
    lines = {module: file.read_bytes().count(b"\n") for module, file in known.items()}
    private = private_in_tests(checkout / "tests")
    return {
        "wings": len({*wing.values()} - {PACKAGE}),
        "imports between wings": len(wings),
        "wings that import each other": circles(wings),
        "rooms": len({*room.values()} - {PACKAGE}),
        "imports between rooms": len(rooms),
        "rooms that import each other": circles(rooms),
        "modules": len(known),
        "lines": sum(lines.values()),
        f"modules over {LONG} lines": {name: n for name, n in sorted(lines.items()) if n > LONG},
        "classes defined twice": defined_twice(known, ast.ClassDef),
        "functions defined twice": defined_twice(known, ast.FunctionDef),
        "human": forms_of_human(known),
        "private names in tests": len(private),
        "private": private,
    }


if __name__ == "__main__":
    json.dump(counts(Path(sys.argv[1] if len(sys.argv) > 1 else ".")), sys.stdout, indent=1)
    print()
