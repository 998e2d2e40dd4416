"""The checks, each a function of the survey: of image files, mask files, splits and classes."""
