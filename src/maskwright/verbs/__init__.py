"""Verbs whose result is a folder with a page: each draws it before the folder is final, from Python as from the command
line. What they find out is computed in rooms below, which know nothing of pages."""
