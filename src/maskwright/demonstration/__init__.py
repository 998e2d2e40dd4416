"""The demonstration: a data generator, and the whole line run on what it draws."""

from maskwright.demonstration.demo import Demo, demo

__all__ = ["Demo", "demo"]
