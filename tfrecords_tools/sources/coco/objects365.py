"""Objects365: detection from its COCO-like JSON. It has boxes only, so images stay unlabelled for masks.

    train/patch8/objects365_v1_00420917.jpg   --images train; the JSON says images/v1/patch8/objects365_v1_00420917.jpg
    train/zhiyuan_objv2_train.json            --annotations

An image is searched at the path in the JSON, then at `patch8/<name>`, then at `<name>`.
"""

from __future__ import annotations

import dataclasses
import os

from tfrecords_tools.sources import Sample, files
from tfrecords_tools.sources.coco import coco_index, coco_json
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.leftovers import FolderFiles
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing


@dataclasses.dataclass(frozen=True)
class Objects365:
    """`source_id` is the image's id in the JSON. `iscrowd` marks a group of objects, as in COCO.

    Attributes:
      images: folder with the patch folders.
      annotations: zhiyuan_objv2_train.json, or the file of another split.
    """

    images: str
    annotations: str

    def find(self) -> Listing:
        """Lists the images of the JSON that exist.

        Raises:
          UserError: no image exists, or the JSON is invalid.
        """
        files.require_folder(self.images, "--images")
        present, account = FolderFiles(self.images), Account()
        index = coco_index.CocoIndex(
            self.annotations, "--annotations", account, lambda image: _path_of(coco_json.file_of(image), present)
        )
        _make_distinct(index.categories)
        listing = self._coco().listing(index, present, account)
        present.use_paths(listing.inputs)
        present.note_unused(account)
        return dataclasses.replace(listing, classes={"detection": listing.classes["detection"]})

    def _coco(self) -> Coco:
        return Coco(self.images, self.annotations)

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its boxes."""
        sample = self._coco().load(item, account)
        return sample._replace(labelled={"detection": sample.labelled["detection"]})


def _path_of(name: str, present: FolderFiles) -> str:
    """Returns the path of a file below the images' folder, which is then used; `name` itself if it does not exist."""
    candidates = (name, os.path.join(*name.split("/")[-2:]), os.path.basename(name))
    found = next((path for path in candidates if path in present), name)
    present.use(found)
    return found


def _make_distinct(categories: list[coco_json.CocoEntry]) -> None:
    """Strips names, and appends the category id to names that are used more than once."""
    for category in categories:
        category["name"] = str(category["name"]).strip()
    names = [category["name"] for category in categories]
    for category, name in zip(categories, names, strict=True):
        if names.count(name) > 1:
            category["name"] = f"{name} {category['id']}"
