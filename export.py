"""Exports for serving: `python export.py --model_dir=DIR --out=DIR`."""

from must_tf.cli.entry_points import export

if __name__ == "__main__":
    export()
