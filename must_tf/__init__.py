"""MuST, multi-task self-training, for TensorFlow Model Garden."""

import pkgutil

__version__ = "0.1.0"
# Lets another distribution add a task in its own must_tf/tasks/ folder.
__path__ = pkgutil.extend_path(__path__, __name__)
