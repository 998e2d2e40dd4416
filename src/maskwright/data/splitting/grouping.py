"""Which samples belong together and must not be parted by a split."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache

from maskwright.base.quiet import silence
from maskwright.base.texts import plural
from maskwright.core.folder_names import SPLIT_NAMES
from maskwright.core.sample import Sample
from maskwright.errors import ConfigError, argument

# Patterns that are offered where the user's own catches nothing, the most telling first.
_OFFERED = (r"^([^/]+)/", r"^([A-Za-z]+[0-9]+)", r"^([^_]+)_", r"^([^-]+)-", r"^(.+)_[^_]*$", r"^(.+)-[^-]*$")


def group_of(name: str, pattern: str) -> str:
    """The group of a sample: what the regular expression finds in its name, or its first parenthesis if it has one.

    `(patient\\d+)_` puts `train/patient7_03` into `patient7`. A name without a match, or with an empty one,
    is a group of its own. The pattern is the user's own and runs without a limit of time: nested repetitions such as
    `(a+)+$` may take exponentially long. ConfigError for one that is no regular expression.
    """
    return _caught(name, pattern) or name


def _caught(name: str, pattern: str) -> str | None:
    match = _compiled(pattern).search(name)
    return match and match.group(1 if match.re.groups else 0)


def groups_of(samples: Sequence[Sample], pattern: str) -> dict[str, str]:
    """The group of each sample by its name: what the pattern catches of the name without the split it begins with, so
    that the split of before divides no group, or else the whole name.

    ConfigError as `group_of` raises it, and for a pattern that catches nothing of any name, with an example of a name
    and of a pattern that would do.
    """
    words = {*SPLIT_NAMES, *(sample.split.lower() for sample in samples if sample.split)}
    names = {sample.name: _without_split(sample.name, words) for sample in samples}
    found = {name: _caught(bare, pattern) for name, bare in names.items()}
    if found and not any(found.values()):
        bare = [*names.values()]
        like = bare[len(bare) // 2]
        split = " (without their split)" if like not in names else ""
        raise ConfigError(
            f"{argument('group')} {pattern!r}: catches nothing of any of the {plural(len(bare), 'name')}, which are "
            f"like {like!r}{split}; {_offer(bare)}"
        )
    return {name: group or name for name, group in found.items()}


def _without_split(name: str, words: Container[str]) -> str:
    first, _, rest = name.partition("/")
    return rest if rest and first.lower() in words else name


def _offer(names: Sequence[str]) -> str:
    for pattern in _OFFERED:
        found = [_caught(name, pattern) for name in names]
        if all(found) and 1 < len({*found}) < len(found):
            groups = len({*found})
            return f"{pattern!r} would do, and makes {groups} groups such as {found[len(found) // 2]!r}"
    return f"put what tells the group in parentheses, or give {argument('group_file', '--group-file')}"


@lru_cache(maxsize=16)
def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        silence(re.escape(__name__), FutureWarning)  # of notations that may change their meaning
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"pattern {pattern!r}: is no regular expression ({error or 'too deep'}); "
            r"write for example (patient\d+)_"
        ) from None


def joined(groups: Sequence[str], digests: Iterable[bytes]) -> list[str]:
    """The groups (N) after those that share an equal image were made one, which has the least of their names.

    digests: (N) of each image's pixels. The result of a sample does not depend on the order of samples.
    """
    parent = {group: group for group in groups}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = group = parent[parent[group]]
        return group

    first: dict[bytes, str] = {}
    for group, digest in zip(groups, digests, strict=True):
        low, high = sorted((root(group), root(first.setdefault(digest, group))))
        parent[high] = low
    return [root(group) for group in groups]
