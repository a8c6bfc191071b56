"""Unlabelled images: every image file below a folder, or in an (uncompressed) tar archive."""

from __future__ import annotations

import dataclasses
import os

from must_tf.errors import UserError
from must_tf.spec import ImageInfo
from tfrecords_tools import pixels, spool
from tfrecords_tools.sources import Found, Item, Sample, archives, files
from tfrecords_tools.tally import Account


@dataclasses.dataclass(frozen=True)
class Images:
    """Images that nobody labelled; `source_id` is the path below `root`, or in it, without its suffix."""

    root: str

    def find(self) -> Found:
        """All images, in the order of their names.

        Raises:
          UserError: no image.
        """
        account, parts = Account(), {}
        if archives.is_tar(self.root):
            files.require_file(self.root, "--root")
            parts = {part.name: part for part in archives.members(self.root) if files.is_image(part.name)}
        else:
            files.require_folder(self.root, "--root")
        names = spool.Names(parts if archives.is_tar(self.root) else filter(files.is_image, files.walk(self.root)))
        if not names:
            raise UserError(f"no image below {self.root}: {', '.join(files.SUFFIXES)} are looked for.")
        items = files.unlabelled(self.root, names, account)
        if parts:
            there = zip(items, names, strict=True)
            items = spool.Items(item._replace(files=(self.root,), labels=parts[name]) for item, name in there)
        return Found(items, {}, account=account)

    def load(self, item: Item, account: Account) -> Sample:
        """The image alone."""
        del account
        return plain(item, item.labels)


def plain(item: Item, part: archives.Part | None = None) -> Sample:
    """An image without labels, EXIF applied; of a whole file, or of a part of it."""
    (path,) = item.files
    name = os.path.join(path, part.name) if part else path
    data = archives.read_part(path, part) if part else pixels.read_file(path)
    stored = pixels.upright(data, None, name)
    info = ImageInfo(item.source_id, stored.height, stored.width)
    return Sample(stored.encoded, info, {}, os.path.basename(name))
