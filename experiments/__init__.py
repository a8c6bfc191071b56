"""Experiments: YAML configs, and the loop that puts the commands together."""
