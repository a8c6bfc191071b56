"""Runs the main function of train.py in a process that a test can kill."""

import contextlib
import os
import sys

from must_tf.cli.train import main
from must_tf.common import tensorflow_log
from must_tf.common.errors import exit_on_user_error
from tests.support.session import fork_server, graphs

if __name__ == "__main__":
    tensorflow_log.begin()
    graphs.optimise(fork_server.PLAIN_GRAPHS not in os.environ)
    with graphs.eagerly() if graphs.EAGER in os.environ else contextlib.nullcontext():
        sys.exit(exit_on_user_error(lambda: main(sys.argv[1:])))
