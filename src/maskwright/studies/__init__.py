"""Studies: runs that belong together, made from one file, trained side by side and gone on with after any end.

A study is a folder of ordinary runs. How far it has come is read from them each time; what is written beside them is
what each is trained with, what its process said, and why it failed.
"""
