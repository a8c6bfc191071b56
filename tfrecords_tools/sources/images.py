"""Unlabelled images: every image file below a folder or in an uncompressed tar archive."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
from collections.abc import Iterable, Iterator

from must_tf.common.errors import UserError
from must_tf.spec import ImageInfo
from tfrecords_tools.sources import Sample, archives, files, pixels
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import FilePart, Item, Listing


@dataclasses.dataclass(frozen=True)
class UnlabelledImages:
    """Images without labels; `source_id` is the path below `root`, or in the archive, without its suffix.

    Attributes:
      root: folder or archive.
      match: a pattern of names without folder and suffix; other images are left out.
    """

    root: str
    match: str = "*"

    def find(self) -> Listing:
        """Lists all images, sorted by name.

        Raises:
          UserError: there is no image.
        """
        items, account = on_disk.Items(), Account()
        parts = self._parts(account)
        for item, part in zip(files.unlabelled(self.root, parts, account), parts.values(), strict=True):
            items.append(item._replace(files=(self.root,), labels=part) if part else item)
        if not items:
            fitting = "" if self.match == "*" else f" whose name matches {self.match!r}"
            raise UserError(f"no image{fitting} below {self.root}. Supported suffixes: {', '.join(files.SUFFIXES)}.")
        return Listing(items, {}, account=account)

    def _parts(self, account: Account) -> on_disk.DiskTable[FilePart | None]:
        """Returns {name: its part of the archive, or None in a folder}."""
        if archives.is_tar(self.root):
            files.require_file(self.root, "--root")
            members = (part for part in archives.members(self.root) if self._is_image(part.name, account))
            return on_disk.DiskTable((part.name, part) for part in self._once(members, account))
        files.require_folder(self.root, "--root")
        names = files.walk(self.root)
        return on_disk.DiskTable((name, None) for name in names if self._is_image(name, account))

    def _once(self, members: Iterable[FilePart], account: Account) -> Iterator[FilePart]:
        """Yields the members, and notes those that replace an earlier one, as they do when the archive is unpacked."""
        seen = on_disk.NameSet()
        for part in members:
            if not seen.add(part.name):
                account.notes.add("image: twice in the archive, the last is used", f"{self.root}/{part.name}")
            yield part

    def _is_image(self, name: str, account: Account) -> bool:
        if not files.is_image(name):
            files.note_unused([name], self.root, account)
        return files.is_image(name) and fnmatch.fnmatchcase(files.stem(os.path.basename(name)), self.match)

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image."""
        return plain(item, account, item.labels)


def plain(item: Item, account: Account, part: FilePart | None = None) -> Sample:
    """Reads an image without labels from a file or a part of it, and applies its EXIF orientation."""
    (path,) = item.files
    name = os.path.join(path, part.name) if part else path
    data = archives.read_part(path, part) if part else pixels.read_file(path)
    stored = pixels.upright(data, pixels.SHOWN, name, account)
    info = ImageInfo(item.source_id, stored.height, stored.width)
    return Sample(stored.encoded, info, {}, os.path.basename(name))
