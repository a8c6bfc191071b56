"""The command `must predict`: predictions for a folder of photos, as pictures, maps and COCO's JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import tensorflow as tf

from must_tf.cli.flags import PredictFlags, parse_predict
from must_tf.common.errors import exit_on_user_error
from must_tf.common.progress import Progress
from must_tf.prediction import images as image_lib
from must_tf.prediction import model as models
from must_tf.prediction.folder import COCO, LINES, MAPS, PICTURES, SETTINGS, Folder, PhotoName, photo_names
from must_tf.prediction.images import ImageError

SHOWN = 20  # unreadable photos that are named; predict.json has all
UNREAD = 1  # exit code: some photos could not be predicted


def main(arguments: Sequence[str]) -> int:
    """Parses the flags and predicts. Returns the exit code."""
    return run(parse_predict(arguments))


def run(flags: PredictFlags) -> int:
    """Predicts the photos that are not finished yet, and writes the joined files. Returns the exit code.

    Raises:
      UserError: something is wrong that the user can fix. Finished photos are kept.
    """
    models.check_arguments(flags.threshold, flags.batch_size)
    listing = image_lib.find(flags.images)
    photos = dict(zip(listing.paths(), photo_names(listing), strict=True))
    tasks = [task.strip() for task in flags.tasks.split(",") if task.strip()]
    model = models.load(flags.model, tasks)
    folder = Folder(flags.out, model, flags.threshold)
    left = {path: photo for path, photo in photos.items() if photo.name not in folder.done}
    print(f"{model.path}, step {model.step}: {', '.join(model.tasks)}", flush=True)
    unread = _predict(model, left, folder, flags, len(photos))
    _report(flags.out, folder.finish(unread), len(left), unread)
    return UNREAD if unread else 0


def _predict(
    model: models.Model, left: dict[str, PhotoName], folder: Folder, flags: PredictFlags, total: int
) -> list[str]:
    """Predicts these photos by path. Returns why some could not be predicted, a line each."""
    unread: list[str] = []
    if not left:
        return unread
    progress = Progress(total, "predict", "photos", total - len(left))

    def skipped(error: ImageError) -> None:
        unread.append(str(error))
        progress.advance()

    for result in model.predict_each(list(left), flags.threshold, flags.batch_size, skipped):
        folder.add(result, left[result.name])
        progress.advance()
    progress.close()
    return unread


def _report(out: str, count: int, left: int, unread: Sequence[str]) -> None:
    if not left:
        print(f"{out} is finished: {count} photos. Nothing to predict.")
        return
    made = ", ".join(name for name in (PICTURES, MAPS, LINES, COCO) if tf.io.gfile.exists(os.path.join(out, name)))
    print(f"{out}: {count} photos predicted. Written: {made}, {SETTINGS}")
    if unread:
        print(f"{len(unread)} without a prediction:")
        for line in unread[:SHOWN]:
            print(f"  {line}")
        if len(unread) > SHOWN:
            print(f"  and {len(unread) - SHOWN} more, see {SETTINGS}")


def cli(flags: PredictFlags) -> None:
    """Predicts and ends the process with an exit code."""
    sys.exit(exit_on_user_error(lambda: run(flags)))
