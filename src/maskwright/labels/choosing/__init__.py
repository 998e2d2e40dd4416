"""Which images to draw next: `disagreement` is what a run is unsure of, `choosing` picks images that are worth it and
unlike each other, `results` is what comes of it.
"""
