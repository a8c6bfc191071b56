"""Runs `must-transfer` as `python -m must_tf.transfers`."""

from must_tf.common.process_setup import importing, prepare

if __name__ == "__main__":
    prepare()
    with importing():
        from must_tf.transfers.command import cli

    cli()
