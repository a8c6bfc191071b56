"""Clients without TensorFlow. An export has a copy of each file, so a file here imports nothing from this project."""
