"""`python -m must_tf.transfers`."""

from must_tf.transfers.command import cli

if __name__ == "__main__":
    cli()
