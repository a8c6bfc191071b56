"""In what order TensorFlow adds up several tensors: always the same, or as they happen to be ready.

Its memory optimizer turns a sum of three or more, as of the gradients that the heads send back into one map of the
pyramid, into a variable to which each is added as soon as it is there. So the last bits of a step depend on which
thread was first, also under `tf.config.experimental.enable_op_determinism()`; and two calls of one function at a time
share the variable's name, which ends both.
"""

from __future__ import annotations

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
from tensorflow.python.eager import context

NO_REWRITE = rewriter_config_pb2.RewriterConfig.NO_MEM_OPT


def in_order() -> None:
    """Sums of all functions that this process calls from now on are made in one order, whichever term is ready first.

    `tf.config.optimizer.set_experimental_options` has no key for it, so the configuration that the options are put on
    is given. With a GPU its kernels have orders of their own: TF_DETERMINISTIC_OPS=1 is for them.
    """
    given = config_pb2.ConfigProto()
    given.graph_options.rewrite_options.memory_optimization = NO_REWRITE
    context.context()._config = given
    tf.config.optimizer.set_experimental_options({})  # what was read of the old one is read anew
