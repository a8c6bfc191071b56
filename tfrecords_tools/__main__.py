"""Makes `python -m tfrecords_tools` the same command as `must-records`."""

import sys

from must_tf.common import interrupts


def main() -> int:
    """Runs `must-records`."""
    with interrupts.at_once():
        from must_tf.common import process_setup

        process_setup.prepare()
        from tfrecords_tools.cli.main import main as run

        return run()


if __name__ == "__main__":  # worker processes import this file too
    sys.exit(main())
