"""Exports for serving: `python export.py --model_dir=DIR --out=DIR`. The same as must-export."""

from must_tf.cli.entry_points import export

if __name__ == "__main__":
    export()
