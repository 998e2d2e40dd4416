"""A model behind HTTP: an image comes in, its mask goes out."""
