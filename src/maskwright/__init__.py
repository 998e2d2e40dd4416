"""Maskwright: from a folder of images with few and imperfect masks to a segmentation model that can be trusted."""

__version__ = "0.1.0"
