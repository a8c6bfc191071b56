"""The only imports for their side effects: they register what Model Garden looks up by name."""

from must_tf.experiments import registered  # noqa: F401
from must_tf.training import task  # noqa: F401
