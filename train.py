"""Trains and evaluates: `python train.py --experiment=must_student --mode=train_and_eval --model_dir=DIR`."""

from must_tf.cli.entry_points import train

if __name__ == "__main__":
    train()
