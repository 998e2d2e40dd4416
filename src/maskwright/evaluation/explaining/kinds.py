"""The kinds of wrong pixels. A counted pixel with another class than its label is of exactly one of them.

Let t be the true class of a wrong pixel and p the predicted one. The first rule that holds decides:

1. *Label suspect*: it lies in an error region (pixels of the same t and p that touch) whose label is more likely wrong
   than the prediction; see `labels`. The region as a whole is of this kind.
2. *Boundary*: moving an outline by no more than the tolerance would fix it. There is both true p and predicted t
   within the tolerance, and the objects on both sides were found; see `anatomy` for what that means beside the
   background.
3. *Missed*: t is an object's class and p the background.
4. *Hallucinated*: t is the background and p an object's class.
5. *Confused*: both are objects' classes. Where there is no background, all that is left.

No pixel is left over, so the counts of the kinds add up to those of all wrong pixels, for every pair of classes too.
Missed pixels belong to an object that was not found at all (*whole*) or to one of which a part is missing, hallucinated
ones to an object without any counterpart (*whole*) or to what reaches beyond one.

A displacement by d pixels is boundary altogether up to the tolerance and not at all beyond twice the tolerance; in
between both an inner and an outer strip of it are left to rules 3 to 5.
"""

from __future__ import annotations

from typing import NamedTuple


class ErrorKind(NamedTuple):
    """What the pixels of a kind have in common, and what may help."""

    meaning: str
    fix: str


KINDS = {
    "boundary": ErrorKind(
        "the outline of something that was found is off by no more than the tolerance",
        "try a larger `data.image_size` or a loss on boundaries; annotators may differ by as much, so label some "
        "images twice before you spend time on it",
    ),
    "missed": ErrorKind(
        "an object, or a part of one, was predicted as background",
        "look at the images with the largest regions; more examples like them, class weights or a Tversky loss that "
        "weighs misses more",
    ),
    "hallucinated": ErrorKind(
        "background was predicted as an object, or an object reaches too far",
        "look at what was mistaken; training images that show it without a label, or removing small components of the "
        "prediction",
    ),
    "confused": ErrorKind(
        "an object of one class was predicted as another class",
        "check whether both classes are labelled consistently; more examples in which they differ, or one group for "
        "both in a class tree",
    ),
    "label_suspect": ErrorKind(
        "the image speaks for the prediction and against the label (weak evidence: colours and edges alone)",
        "look at these regions with your own eyes; correct the labels that are wrong and evaluate again",
    ),
}
NAMES = tuple(KINDS)
# What stands in a map of kinds; 0 is a pixel that is right, or not counted.
BOUNDARY, MISSED, HALLUCINATED, CONFUSED, LABEL_SUSPECT = range(1, len(KINDS) + 1)
