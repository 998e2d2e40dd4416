"""Exported models: ONNX files that hold all that is needed to use them, written with torch and used without it."""
