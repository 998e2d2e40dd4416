"""Which samples belong together and must not be parted by a split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from maskwright.base.quiet import silence
from maskwright.errors import ConfigError


def group_of(name: str, pattern: str) -> str:
    """The group of a sample: what the regular expression finds in its name, or its first parenthesis if it has one.

    `(patient\\d+)_` puts `train/patient7_03` into `patient7`. A name without a match, or with an empty one,
    is a group of its own. The pattern is the user's own and runs without a limit of time: nested repetitions such as
    `(a+)+$` may take exponentially long. ConfigError for one that is no regular expression.
    """
    match = _compiled(pattern).search(name)
    return (match and match.group(1 if match.re.groups else 0)) or name


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
