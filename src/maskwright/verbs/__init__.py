"""Verbs that join wings: those whose result is a folder with a page draw it before the folder is final, from Python as
from the command line; `export` proves by evaluation what inference has written. What they find out is computed in rooms
below, which know nothing of them."""
