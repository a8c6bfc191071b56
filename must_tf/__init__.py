"""MuST, multi-task self-training, for TensorFlow Model Garden.

    import must_tf

    model = must_tf.load("runs/student")
    result = model.predict("photo.jpg")

Importing the package imports nothing else. The names in `PUBLIC` are imported when they are first used, and TensorFlow
with them. Before, `TF_CPP_MIN_LOG_LEVEL` is set unless it is: TensorFlow logs a dozen harmless lines as it starts.
"""

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from must_tf.common.errors import UserError as UserError
    from must_tf.prediction import ImageError as ImageError
    from must_tf.prediction import Model as Model
    from must_tf.prediction import Result as Result
    from must_tf.prediction import load as load

__version__ = "0.1.0"
# Lets another distribution add a task in its own must_tf/tasks/ folder.
__path__ = pkgutil.extend_path(__path__, __name__)
PREDICTION = "must_tf.prediction"
SETUP = "must_tf.common.process_setup"
# The package's names for its users, and the module of each.
PUBLIC = {
    "load": PREDICTION,
    "ImageError": PREDICTION,
    "Model": PREDICTION,
    "Result": PREDICTION,
    "UserError": "must_tf.common.errors",
}


def __getattr__(name: str) -> Any:
    """Imports one of the `PUBLIC` names when it is first used."""
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}. Its names are {', '.join(PUBLIC)}.")
    if PUBLIC[name] == PREDICTION and "tensorflow" not in sys.modules:
        importlib.import_module(SETUP).quiet_cpp()
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    """Returns the names that are there and those that can be imported."""
    return sorted([*globals(), *PUBLIC])
