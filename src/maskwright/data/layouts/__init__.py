"""What a folder of images and masks is: which files belong together, their splits, and what the values in masks mean.

words      paths as tokens
files      what each file is, from its pixels
pairing    the rules by which masks are named after images
sets       which masks to read, where there are several of an image
lists      splits from files that list images
tables     names and colours of classes from the files that come along
encodings  what the values in masks mean
detection  all of it together
"""

from maskwright.data.layouts.detection import detect, pairs_of
from maskwright.data.layouts.found import NOTHING_SAID, TABLE, Answers, Detection

__all__ = ["NOTHING_SAID", "TABLE", "Answers", "Detection", "detect", "pairs_of"]
