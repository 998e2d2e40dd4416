"""What the journal of edits says to a reviewer: what was judged, what can be undone, and what can be redone.

Nothing is kept beside the journal, so all of it outlives the server. A batch of the page has a reason that starts with
`review`; one that answers a proposal names it, and one that redoes another names that.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from maskwright.core.edits import Batch

REASON = "review"
_ANSWER = re.compile(r"(accepted|refused) (\S+) (\d+)")
_REDO = re.compile(r" \(redo of (\d+)\)")


def answer_reason(verb: str, folder: str, number: int) -> str:
    """The reason of a batch that has `accepted` or `refused` the proposal of that number in that folder."""
    return f"{REASON}: {verb} {folder} {number}"


def redo_reason(batch: Batch) -> str:
    """The reason of the batch that does `batch` again."""
    return f"{_REDO.sub('', batch.reason)} (redo of {batch.name})"


def is_review(batch: Batch) -> bool:
    """Whether the page has made it."""
    return batch.reason == REASON or batch.reason.startswith((f"{REASON}:", f"{REASON} ("))


@dataclass(frozen=True)
class History:
    """`held`: the batches that hold, in order; `undone`: those of the page that can be redone, the next one last;
    `batches`: of each sample the names of those that hold; `judged`: samples that were judged or drawn on the page;
    `answers`: of each sample `accepted` or `refused` by folder and number of the proposal."""

    held: list[Batch] = field(default_factory=list)
    undone: list[Batch] = field(default_factory=list)
    batches: dict[str, list[str]] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)
    answers: dict[str, dict[tuple[str, int], str]] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Iterable[Batch | str]) -> History:
        """The history that these events (see `read_journal`) have led to. Whatever is edited anew, by anybody, ends the
        redoing of what was undone before."""
        held: dict[str, Batch] = {}
        undone: list[Batch] = []
        for event in events:
            if isinstance(event, str):
                batch = held.pop(event, None)
                if batch is not None and is_review(batch):
                    undone.append(batch)
                continue
            held[event.name] = event
            redone = _REDO.search(event.reason)
            if is_review(event) and redone and undone and undone[-1].name == redone[1]:
                undone.pop()
            else:
                undone = []
        found = cls([*held.values()], undone)
        for batch in found.held:
            answer = _ANSWER.search(batch.reason) if is_review(batch) else None
            for edit in batch.edits:
                names = found.batches.setdefault(edit.sample, [])
                if batch.name not in names:
                    names.append(batch.name)
                if answer:
                    found.answers.setdefault(edit.sample, {})[(answer[2], int(answer[3]))] = answer[1]
                elif is_review(batch):
                    found.judged.add(edit.sample)
        return found

    @property
    def last(self) -> Batch | None:
        """What undoing takes back: the last batch of the page that holds."""
        return next((batch for batch in reversed(self.held) if is_review(batch)), None)

    @property
    def next(self) -> Batch | None:
        """What redoing brings back."""
        return self.undone[-1] if self.undone else None

    def revision(self, sample: str) -> str:
        """Names the state of a sample: equal only while the same edits of it hold."""
        text = "\n".join([sample, *self.batches.get(sample, ())])
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
