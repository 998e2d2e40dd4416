"""What a folder of images and masks is: which files belong together, their splits, and what the values in masks mean.

words      paths as tokens
files      what each file is, from its pixels
roles      which files are images and which masks
pairing    the rules by which masks are named after images
relations  what the pixels of a few masks say about a set
sets       which masks to read, where there are several of an image
lists      splits from files that list images
tables     names and colours of classes from the files that come along
values     the values in mask files, counted
encodings  what grey values mean, and who decides between them and colours
colours    what colours mean
fragments  classes that are likely what the drawers left out
csv_tables tables that pair images and masks
usual      two folders with the same names
found      what detection finds, and what the user has answered
detection  all of it together
"""

from maskwright.data.layouts.detection import detect, pairs_of
from maskwright.data.layouts.found import NOTHING_SAID, TABLE, Answers, Detection

__all__ = ["NOTHING_SAID", "TABLE", "Answers", "Detection", "detect", "pairs_of"]
