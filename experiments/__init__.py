"""Experiments: YAML configs, and the loop that runs the project's commands one after the other."""
