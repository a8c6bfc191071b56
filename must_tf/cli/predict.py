"""The command `must predict`: predictions for a folder of photos, as pictures, maps and COCO's JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Mapping, Sequence

import tensorflow as tf

from must_tf.cli.flags import PredictFlags, parse_predict
from must_tf.common import folder_lock
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
    listing = image_lib.find(flags.images).outside(flags.out)  # an earlier call may have written pictures there
    photos = dict(zip(listing.paths(), photo_names(listing), strict=True))
    tasks = [task.strip() for task in flags.tasks.split(",") if task.strip()]
    model = models.load(flags.model, tasks)
    with folder_lock.held(flags.out):
        return _into(Folder(flags.out, model, flags.threshold), flags, photos)


def _into(folder: Folder, flags: PredictFlags, photos: Mapping[str, PhotoName]) -> int:
    model = folder.model
    left = {path: photo for path, photo in photos.items() if photo.name not in folder.done}
    batches = _batches(list(photos), left, flags.batch_size)
    print(f"{model.path}, step {model.step}: {', '.join(model.tasks)}", flush=True)
    progress = Progress(len(photos), "predict", "photos", len(photos) - len(left))
    unread: list[str] = []

    def skipped(error: ImageError) -> None:
        unread.append(str(error))
        progress.advance()

    for result in model.predict_each(batches, flags.threshold, flags.batch_size, skipped):
        if result.name in left:
            folder.add(result, left[result.name])
            progress.advance()
    if left:
        progress.close()
    _report(flags.out, folder.finish(unread), len(left), unread)
    return UNREAD if unread else 0


def _batches(paths: Sequence[str], left: Container[str], size: int) -> list[str]:
    """Returns the photos of all batches of `size` in which some are left.

    Finished photos of such a batch are predicted again, and not written: the last bits of a prediction depend on the
    other photos of its batch.
    """
    batches = [paths[start : start + size] for start in range(0, len(paths), size)]
    return [path for batch in batches if any(path in left for path in batch) for path in batch]


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
