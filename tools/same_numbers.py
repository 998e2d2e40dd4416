"""Shows that a change of names and places changed no number.

    python tools/same_numbers.py record BEFORE     # on the old source: about five minutes on two quiet cores
    python tools/same_numbers.py record AFTER      # on the new one
    python tools/same_numbers.py compare BEFORE AFTER --words words.txt --renames renames.txt

`record` draws small datasets, runs the command line on them (audit, convert, train, evaluate, compare, explain, report,
suspects and more: see recorded_commands.py) and keeps what it prints and writes. `compare` says for each file which it
is: the same bytes; the same numbers in the same order, but other words; or other numbers. What differs from one
recording to the next (times, dates, the folder's own path) is in one table, normal_forms.VOLATILE. Record both on the
same machine with the same packages.

All replaced words are printed with how often they occur, so that a person can check that only words have changed.
`--words` and `--renames` are text files with lines `old -> new`, `#` before a comment: words that are known to be
replaced, which are not printed any more, and folders or files (any run of whole parts of a path) with a new name. A
file with a new name is also found by what it holds.

The exit code is 0 only where no number differs and no file is missing, else 1. In HTML, SVG and other text, every
number counts, in JSON also true, false and null; of pictures, arrays and tensors every byte.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path, PurePosixPath

from normal_forms import NUMBER, Rename, is_volatile, normal_text, read_parts
from record_numbers import record

_OUTSIDE = "errors/"  # progress and complaints, which come at their own pace
_ENOUGH = 8  # numbers, before a file can be known by them
_SHOWN = 5  # differences of one file
_LISTED = 40  # files of one kind
_LOOKED_AT = 2000  # numbers of a file, when it is said where they differ
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass
class Outcome:
    """What is found in one file: `numbers` says where numbers differ, `words` counts what was put for what."""

    numbers: list[str] = field(default_factory=list)
    words: Counter[tuple[str, str]] = field(default_factory=Counter)
    same: bool = True

    @property
    def verdict(self) -> str:
        """In which group the file is counted."""
        if self.numbers:
            return "numbers differ"
        return "same bytes" if self.same else "same numbers, other words" if self.words else "same numbers"


@dataclass
class Comparison:
    """All files by path in A; `renamed` are pairs of paths, `missing` paths of A, `added` paths of B."""

    files: dict[str, Outcome] = field(default_factory=dict)
    renamed: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)

    @property
    def fine(self) -> bool:
        """No number differs, and no file is missing or new."""
        return not self.missing and not self.added and not any(one.numbers for one in self.files.values())


def compare(
    first: Path, second: Path, words: Sequence[tuple[str, str]] = (), renames: Sequence[tuple[str, str]] = ()
) -> Comparison:
    """Compares two recordings; `words` and `renames` are pairs of old and new. SystemExit where one is none."""
    result = Comparison()
    rename = _renamer(words)
    roots = str(first.resolve()), str(second.resolve())
    pairs, result.missing, result.added = _match(_files(first), _files(second), renames)
    for kind in (_content, _numbers):
        found = _match_by(kind, first, second, result.missing, result.added, rename)
        result.renamed += found
        pairs += found
        result.missing = [path for path in result.missing if path not in {old for old, _ in found}]
        result.added = [path for path in result.added if path not in {new for _, new in found}]
    for old, new in sorted(pairs):
        result.files[old] = (
            Outcome()
            if is_volatile(old)
            else _compare_files(read_parts(first, old), read_parts(second, new), roots, rename)
        )
    return result


def _files(folder: Path) -> list[str]:
    found = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    found = [path for path in found if not path.startswith(_OUTSIDE) and not path.endswith(".lock")]
    if not found:
        sys.exit(f"{folder}: nothing is recorded there")
    return found


def _match(
    first: Iterable[str], second: Iterable[str], renames: Sequence[tuple[str, str]]
) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Pairs of paths, what only the first has and what only the second has."""
    left = set(second)
    pairs, missing = [], []
    for path in first:
        new = path
        for before, after in renames:
            new = f"/{new}/".replace(f"/{before.strip('/')}/", f"/{after.strip('/')}/").strip("/")
        place = next((name for name in (new, path) if name in left), None)
        if place is None:
            missing.append(path)
        else:
            left.remove(place)
            pairs.append((path, place))
    return pairs, missing, sorted(left)


def _match_by(
    kind: object, first: Path, second: Path, missing: Sequence[str], added: Sequence[str], rename: Rename
) -> list[tuple[str, str]]:
    """Files that lie elsewhere: the same by `kind`, in the order of their paths."""
    assert callable(kind)
    places: dict[str, list[str]] = {}
    for path in added:
        if key := kind(second, path, str):
            places.setdefault(key, []).append(path)
    found = []
    for path in missing:
        key = kind(first, path, rename)
        if key and places.get(key):
            found.append((path, places[key].pop(0)))
    return found


def _content(folder: Path, path: str, rename: Rename) -> str:
    """A key of what a file holds; none where it is volatile."""
    if is_volatile(path):
        return ""
    digest = hashlib.sha256(PurePosixPath(path).suffix.encode())
    for name, data in read_parts(folder, path).items():
        text = normal_text(name, data, str(folder.resolve()), rename)
        digest.update(data if text is None else text.encode())
    return digest.hexdigest()


def _numbers(folder: Path, path: str, rename: Rename) -> str:
    """A key of a file's numbers; none where there are few."""
    texts = [normal_text(name, data, str(folder.resolve()), rename) for name, data in read_parts(folder, path).items()]
    numbers = [number for text in texts if text for number in NUMBER.findall(text)]
    return "" if len(numbers) < _ENOUGH or None in texts else f"{PurePosixPath(path).suffix} {' '.join(numbers)}"


def _compare_files(
    first: dict[str, bytes], second: dict[str, bytes], roots: tuple[str, str], rename: Rename
) -> Outcome:
    result = Outcome()
    if len(first) != len(second):
        result.numbers.append(f"holds {len(first)} parts, then {len(second)}")
        return result
    # Inside an archive, files may have new names too; then their order has to be the same.
    inside = list(zip(first, second, strict=True)) if set(first) != set(second) else [(name, name) for name in first]
    for old, new in inside:
        _compare_part(result, old, first[old], new, second[new], roots, rename)
    return result


def _compare_part(
    result: Outcome, old: str, before: bytes, new: str, after: bytes, roots: tuple[str, str], rename: Rename
) -> None:
    if before == after:
        return
    inside = f"{old.partition('!')[2]}: " if "!" in old else ""
    first, second = (
        normal_text(name, data, root, change)
        for name, data, root, change in ((old, before, roots[0], rename), (new, after, roots[1], str))
    )
    if first is None or second is None:
        result.numbers.append(f"{inside}other bytes ({len(before)}, then {len(after)})")
        return
    if first == second:
        return
    result.same = False
    where = _differences(first, second)
    if where:  # keys that are written in the order of the alphabet change their places with their names
        first, second = (
            normal_text(name, data, root, change, ordered=False) or ""
            for name, data, root, change in ((old, before, roots[0], rename), (new, after, roots[1], str))
        )
        if _differences(first, second):
            result.numbers += [inside + line for line in where]
            return
    result.words += _replaced(first, second)


def _differences(first: str, second: str) -> list[str]:
    """Where the numbers of two texts differ: the first few, with what stands around them."""
    before, after = list(NUMBER.finditer(first)), list(NUMBER.finditer(second))
    if [match[0] for match in before] == [match[0] for match in after]:
        return []
    found = []
    old, new = ([match[0] for match in matches[:_LOOKED_AT]] for matches in (before, after))
    matcher = SequenceMatcher(None, old, new, False)
    changes = [change for change in matcher.get_opcodes() if change[0] != "equal"]
    for _, a, b, c, d in changes[:_SHOWN]:
        found.append(f"number {a + 1}: {_around(first, before[a:b])} -> {_around(second, after[c:d])}")
    if len(changes) > _SHOWN or not found:
        found.append(
            f"in all {len(changes)} places of the first {_LOOKED_AT} numbers; {len(before)} numbers, then {len(after)}"
        )
    return found


def _around(text: str, matches: Sequence[re.Match[str]]) -> str:
    if not matches:
        return "nothing"
    begin, end = max(0, matches[0].start() - 40), matches[min(2, len(matches) - 1)].end() + 15
    return f"`{' '.join(text[begin:end].split())}`"


def _replaced(first: str, second: str) -> Counter[tuple[str, str]]:
    """What stands for what between the numbers of two texts, whose numbers are the same."""
    found: Counter[tuple[str, str]] = Counter()
    for before, after in zip(NUMBER.split(first), NUMBER.split(second), strict=True):
        if before == after:
            continue
        old, new = _TOKEN.findall(before), _TOKEN.findall(after)
        for kind, a, b, c, d in SequenceMatcher(None, old, new, False).get_opcodes():
            if kind != "equal":
                found[" ".join(old[a:b]), " ".join(new[c:d])] += 1
    return found


def _renamer(words: Sequence[tuple[str, str]]) -> Rename:
    """Puts new words for old ones, longer ones first; a word begins and ends where a name does."""
    if not words:
        return str
    table = dict(words)
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(table, key=len, reverse=True)))
    return lambda text: pattern.sub(lambda match: table[match[0]], text)


def read_pairs(file: Path | None) -> list[tuple[str, str]]:
    """The lines `old -> new` of a file; none without one. SystemExit for any other line."""
    found = []
    for number, line in enumerate(file.read_text().splitlines() if file else [], start=1):
        if line.strip() and not line.startswith("#"):
            old, arrow, new = (part.strip() for part in line.partition(" -> "))
            if not arrow or not old:
                sys.exit(f"{file}:{number}: expected `old -> new`, found `{line}`")
            found.append((old, new))
    return found


def render(result: Comparison) -> str:
    """The text for a person: what differs in numbers, what is missing, what was put for what, and counts."""
    lines = []
    for path, one in result.files.items():
        lines += [f"NUMBERS DIFFER in {path}", *(f"    {line}" for line in one.numbers)] if one.numbers else []
    for title, paths in (("MISSING", result.missing), ("NEW", result.added)):
        lines += [f"{title} {path}" for path in paths[:_LISTED]]
        lines += [f"{title} and {len(paths) - _LISTED} more"] if len(paths) > _LISTED else []
    lines += [f"renamed: {old} -> {new}" for old, new in result.renamed]
    words: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for path, one in result.files.items():
        words += one.words
        for pair in one.words:
            example.setdefault(pair, path)
    if words:
        lines += ["other words, by how often:"]
        lines += [f"{count:6d}  `{old}` -> `{new}`  ({example[old, new]})" for (old, new), count in words.most_common()]
    counts = Counter(one.verdict for one in result.files.values())
    lines += [
        f"{len(result.files)} files: "
        + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        + f"; {len(result.missing)} missing, {len(result.added)} new, {len(result.renamed)} renamed"
    ]
    return "\n".join([*lines, "no number differs" if result.fine else "not the same"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    recording = verbs.add_parser("record", help="run the commands and keep what they print and write")
    recording.add_argument("folder", type=Path)
    comparing = verbs.add_parser("compare", help="say where two recordings differ")
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    comparing.add_argument("--words", type=Path, help="lines `old -> new`: words that are known to be replaced")
    comparing.add_argument("--renames", type=Path, help="lines `old -> new`: files and folders with a new name")
    given = parser.parse_args(arguments)
    if given.verb == "record":
        return 1 if record(given.folder) else 0
    result = compare(given.first, given.second, read_pairs(given.words), read_pairs(given.renames))
    print(render(result))
    return 0 if result.fine else 1


if __name__ == "__main__":
    sys.exit(main())
