"""Rounds that make many poor masks (boxes, coarse outlines) better, judged by a few good ones.

`config` is refine.yaml, `combining` how a poor mask and what a model sees become a better one, `boxes` what is known
of boxes, `guarding` which round is kept, `running` does the rounds, `results` is what is found.
"""
