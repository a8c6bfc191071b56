"""Objects365: its COCO-like JSON -> detection. Boxes alone: nobody drew masks.

    train/patch8/objects365_v1_00420917.jpg   --images train; the JSON says images/v1/patch8/objects365_v1_00420917.jpg
    train/zhiyuan_objv2_train.json            --annotations

An image is looked for where the JSON says, then as `patch8/<name>`, then as `<name>` alone.
"""

from __future__ import annotations

import dataclasses
import os

from tfrecords_tools.sources import Sample, files
from tfrecords_tools.sources.coco import coco_index, coco_json
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing


@dataclasses.dataclass(frozen=True)
class Objects365:
    """`source_id` is the image's id in the JSON. `iscrowd` is a group of objects, as in COCO.

    Attributes:
      images: folder with the patch folders.
      annotations: zhiyuan_objv2_train.json, or that of another split.
    """

    images: str
    annotations: str

    def find(self) -> Listing:
        """The images of the JSON that exist.

        Raises:
          UserError: none exists, or the JSON cannot be used.
        """
        files.require_folder(self.images, "--images")
        there, account = on_disk.NameSet(files.walk(self.images)), Account()
        index = coco_index.CocoIndex(
            self.annotations, "--annotations", account, lambda image: _place(coco_json.file_of(image), there)
        )
        _make_distinct(index.categories)
        found = self._coco().found(index, there, account)
        return dataclasses.replace(found, classes={"detection": found.classes["detection"]})

    def _coco(self) -> Coco:
        return Coco(self.images, self.annotations)

    def load(self, item: Item, account: Account) -> Sample:
        """The image and its boxes."""
        sample = self._coco().load(item, account)
        return sample._replace(labelled={"detection": sample.labelled["detection"]})


def _place(name: str, there: on_disk.NameSet) -> str:
    """Where the file lies below the images' folder; as it stands if nowhere."""
    shorter = (name, os.path.join(*name.split("/")[-2:]), os.path.basename(name))
    return next((each for each in shorter if each in there), name)


def _make_distinct(categories: list[coco_json.CocoEntry]) -> None:
    """Names lose blanks around them; a name that stands twice gets its id behind it."""
    for category in categories:
        category["name"] = str(category["name"]).strip()
    names = [category["name"] for category in categories]
    for category, name in zip(categories, names, strict=True):
        if names.count(name) > 1:
            category["name"] = f"{name} {category['id']}"
