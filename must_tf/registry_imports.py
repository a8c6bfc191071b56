"""The one list of imports for their side effects: they register what Model Garden looks up by name."""

from must_tf import experiments, student  # noqa: F401
