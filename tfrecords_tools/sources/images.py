"""Unlabelled images: every image file below a folder."""

from __future__ import annotations

import dataclasses
import os

from must_tf.errors import UserError
from must_tf.spec import ImageInfo
from tfrecords_tools import pixels, spool
from tfrecords_tools.sources import Found, Item, Sample, files
from tfrecords_tools.tally import Account


@dataclasses.dataclass(frozen=True)
class Images:
    """Images that nobody labelled; `source_id` is the path below `root` without its suffix."""

    root: str

    def find(self) -> Found:
        """All images, in the order of their names."""
        files.require_folder(self.root, "--root")
        names = spool.Names(name for name in files.walk(self.root) if files.is_image(name))
        if not names:
            raise UserError(f"no image below {self.root}: {', '.join(files.SUFFIXES)} are looked for.")
        account = Account()
        return Found(files.unlabelled(self.root, names, account), {}, account=account)

    def load(self, item: Item, account: Account) -> Sample:
        """The image alone."""
        del account
        return plain(item)


def plain(item: Item) -> Sample:
    """An image without labels, EXIF applied."""
    (path,) = item.files
    stored = pixels.upright(pixels.read_file(path), None, path)
    info = ImageInfo(item.source_id, stored.height, stored.width)
    return Sample(stored.encoded, info, {}, os.path.basename(path))
