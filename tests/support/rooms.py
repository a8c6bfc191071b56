"""The order of the packages ("rooms"). It stands here and in no other place."""

from __future__ import annotations

# A room may import only from rooms that come before it.
ROOMS = (
    "must_tf",  # its version, and the names in LAZY
    "must_tf.common",
    "must_tf.config",
    "must_tf.label_content",
    "must_tf.spec",
    "must_tf.data",
    "must_tf.shared",
    "must_tf.tasks",
    "must_tf.model",
    "must_tf.pseudo_gate",
    "must_tf.evaluation",
    "must_tf.runs",
    "must_tf.training",
    "must_tf.experiments",
    "must_tf.serving",
    "must_tf.prediction",
    "must_tf.transfers",
    "must_tf.cli",
    "tfrecords_tools",
    "tfrecords_tools.writing",
    "tfrecords_tools.reading",
    "tfrecords_tools.sources",
    "tfrecords_tools.convert",
    "tfrecords_tools.merge",
    "tfrecords_tools.export",
    "tfrecords_tools.stats",
    "tfrecords_tools.check",
    "tfrecords_tools.inspect",
    "tfrecords_tools.teachers",
    "tfrecords_tools.label",
    "tfrecords_tools.evaluate",
    "tfrecords_tools.cli",
    "tfrecords_tools.__main__",
    "must_tf.loop",  # uses both packages, and so does the command `must`
    "must_tf.__main__",
)

# The one exception: names of the package itself that are imported from later rooms when they are first used. Importing
# `must_tf` imports none of these.
LAZY = {"must_tf.prediction", "must_tf.common.errors"}
