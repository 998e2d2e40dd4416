"""Classes that a model does not find: which had nothing to be learnt from, and what may help the others. The guards and
the doctor say it in the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maskwright.base.texts import counted, listing
from maskwright.core.class_facts import ClassFacts, remedies

# What is said of something: message, fix and evidence.
Remark = tuple[str, str, dict[str, Any]]


def untrained(facts: Mapping[str, ClassFacts]) -> list[str]:
    """The classes without a training pixel; none where nothing is known of the training masks."""
    return [name for name, one in facts.items() if not one.pixels]


def nothing_to_learn(names: Sequence[str]) -> Remark:
    """Of classes without a training pixel."""
    return (
        counted(len(names), "class{|es} {has|have} no training pixel: ")
        + f"{listing(map(repr, names), 12)}: there is nothing to learn {'it' if len(names) == 1 else 'them'} from",
        "add labelled training images that show them, or remove them from the classes",
        {"classes": list(names)},
    )


def nothing_to_judge(names: Sequence[str]) -> Remark:
    """Of classes without a counted validation pixel."""
    return (
        counted(len(names), "class{|es} {has|have} no validation pixel: ")
        + f"{listing(map(repr, names), 12)}: nothing tells how well {'it is' if len(names) == 1 else 'they are'} "
        "learnt",
        "move images that show them into the validation split (`maskwright split`)",
        {"classes": list(names)},
    )


def what_helps(names: Sequence[str], facts: Mapping[str, ClassFacts], images: int, config: Mapping[str, Any]) -> str:
    """What may help the classes `names` that are not found, by the facts of `images` training masks and the run.yaml;
    where no facts are known, what helps in general."""
    known = [name for name in names if name in facts]
    if not known:
        return "look at how rare and narrow they are (`maskwright audit`); class weights or more labels may help"
    return "what may help: " + "; ".join(remedies(known, [facts[name] for name in known], images, config))
