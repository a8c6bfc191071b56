"""Trains and evaluates: `python train.py --experiment=must_student --model_dir=DIR`. The same as must-train."""

from must_tf.cli.entry_points import train

if __name__ == "__main__":
    train()
