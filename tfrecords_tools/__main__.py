"""`python -m tfrecords_tools` is `must-records`."""

import sys

from tfrecords_tools.cli import main

if __name__ == "__main__":  # worker processes import this file too
    sys.exit(main())
