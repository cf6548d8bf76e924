"""Runs a bundle: onnxruntime and numpy, no torch. Start reading at ``pipeline.score``."""
