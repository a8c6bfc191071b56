"""Runs the main function of train.py in a process that a test can kill."""

import sys

from must_tf.cli.train import main

if __name__ == "__main__":
    main(sys.argv[1:])
