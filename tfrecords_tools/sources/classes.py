"""Classification: one folder of images per class, `ROOT/<class>/*.jpg`. Class ids follow the sorted folder names."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data.record import Labelled
from tfrecords_tools.sources import Sample, class_files, files, images
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing

SPELLINGS = "classification: several spellings of a class's name, used as one class"


@dataclasses.dataclass(frozen=True)
class ClassFolders:
    """`source_id` is `<class>/<file name without suffix>`. Converts `limit` images per class; 0 means all."""

    root: str
    limit: int = 0

    def find(self) -> Listing:
        """Lists the images of all class folders.

        Raises:
          UserError: there is no image, or a class folder holds folders instead (ROOT is one level too high).
        """
        files.require_folder(self.root, "--root")
        account, items, by_name = Account(), on_disk.Items(), dict[str, list[str]]()
        for folder in files.folders(self.root):
            by_name.setdefault(class_files.composed(folder), []).append(folder)
        beside = files.images_in(self.root)
        if beside:
            account.notes.add(
                "image: beside the class folders, left out", os.path.join(self.root, beside[0]), len(beside)
            )
        classes = tuple(sorted(by_name))
        for number, name in enumerate(classes):
            if len(by_name[name]) > 1:
                account.notes.add(SPELLINGS, os.path.join(self.root, name), len(by_name[name]) - 1)
            for folder in by_name[name]:
                for item in self._class_items(folder, account):
                    items.append(item._replace(labels=(number, len(classes))))
        if not items:
            raise UserError(
                f"no image in the folders of {self.root}. It should contain one folder of images per class."
            )
        return Listing(items, {"classification": classes}, account=account)

    def _class_items(self, class_name: str, account: Account) -> Iterable[Item]:
        folder = os.path.join(self.root, class_name)
        names = files.images_in(folder)
        if not names:
            if inner := files.folders(folder):
                raise UserError(
                    f"{folder} contains folders but no image. Every folder directly inside --root is a class; "
                    f"if {inner[0]!r} is one, give --root {shlex.quote(folder)}."
                )
            account.notes.add("classification: class without an image", folder)
        for inner_folder in files.folders(folder) if names else ():
            reason = "classification: folder in a class folder is not read"
            account.notes.add(reason, os.path.join(folder, inner_folder))
        files.note_others(set(tf.io.gfile.listdir(folder)) - set(names), folder, account)
        names = names[: self.limit] if self.limit > 0 else names
        return files.unlabelled(self.root, [f"{class_name}/{name}" for name in names], account)

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its one-hot label."""
        number, count = item.labels
        probability = np.zeros([count], np.float32)
        probability[number] = 1.0
        origin = f"real:{files.dataset(self.root)}"
        labelled = {"classification": Labelled({"probability": probability}, origin)}
        return images.plain(item, account)._replace(labelled=labelled)
