"""Classification: one folder of images per class, `ROOT/<class>/*.jpg`. Ids are the sorted names' places."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable

import numpy as np

from must_tf.common.errors import UserError
from must_tf.data.record import Labelled
from tfrecords_tools.sources import Sample, files, images
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing


@dataclasses.dataclass(frozen=True)
class ClassFolders:
    """`source_id` is `<class>/<file name without suffix>`. `limit` images of each class are taken, 0 is all."""

    root: str
    limit: int = 0

    def find(self) -> Listing:
        """All images of all class folders.

        Raises:
          UserError: no class folder, or one that holds folders instead of images: ROOT is one level too high.
        """
        files.require_folder(self.root, "--root")
        classes = tuple(files.folders(self.root))
        account, items = Account(), on_disk.Items()
        for number, name in enumerate(classes):
            for item in self._of_class(name, account):
                items.append(item._replace(labels=(number, len(classes))))
        if not items:
            raise UserError(f"no image in the folders of {self.root}: one folder per class is expected.")
        return Listing(items, {"classification": classes}, account=account)

    def _of_class(self, name: str, account: Account) -> Iterable[Item]:
        folder = os.path.join(self.root, name)
        found = files.images_in(folder)
        if not found:
            if inner := files.folders(folder):
                raise UserError(
                    f"{folder} holds folders and no image. If {inner[0]!r} is a class, give "
                    f"--root {folder}; every folder directly in --root is one class."
                )
            account.notes.add("classification: class without an image", folder)
        found = found[: self.limit] if self.limit > 0 else found
        return files.unlabelled(self.root, [f"{name}/{each}" for each in found], account)

    def load(self, item: Item, account: Account) -> Sample:
        """The image and its one-hot label."""
        del account
        number, count = item.labels
        probability = np.zeros([count], np.float32)
        probability[number] = 1.0
        origin = f"real:{files.dataset(self.root)}"
        labelled = {"classification": Labelled({"probability": probability}, origin)}
        return images.plain(item)._replace(labelled=labelled)
