"""Exports for serving: `python export.py --model_dir=DIR --out=DIR`."""

from must_tf.export import cli

if __name__ == "__main__":
    cli()
