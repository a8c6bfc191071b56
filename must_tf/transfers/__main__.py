"""Runs `must-transfer` as `python -m must_tf.transfers`."""

from must_tf.common import interrupts

if __name__ == "__main__":
    with interrupts.at_once():
        from must_tf.common.process_setup import importing, prepare

        prepare()
        with importing():
            from must_tf.transfers.command import cli

        cli()
