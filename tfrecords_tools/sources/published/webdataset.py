"""WebDataset: images in tar archives, with classification if there are classes.

    DIR/train-000000.tar           shards, uncompressed
      000000.jpg                   files of one sample have the same name up to its first dot
      000000.cls                   the number of its class, from 0; `classes` names them

`index.cls` and other endings may hold anything: what is not an image or a class is counted.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import posixpath

import numpy as np

from must_tf.common import text_files
from must_tf.common.errors import UserError
from must_tf.common.files import matched_by
from must_tf.data.record import Labelled
from tfrecords_tools.sources import Sample, archives, files, images
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import FilePart, Item, Listing

CLASS = "cls"
MOST = 1 << 16  # classes


@dataclasses.dataclass(frozen=True)
class WebDataset:
    """`source_id` is the name of the sample; if several shards have it, the name of the shard stands before it.

    Attributes:
      pattern: of the tar archives.
      classes: file with the class names in order; empty: the numbers are the names.
    """

    pattern: str
    classes: str = ""

    def find(self) -> Listing:
        """Lists the images of all shards.

        Raises:
          UserError: there is no image, a shard is damaged, or a class has no name.
        """
        paths = matched_by(self.pattern)
        if not paths:
            raise UserError(
                f"--archives {self.pattern!r} does not match any file. Give a pattern in quotes: 'DIR/*.tar'."
            )
        account, found, taken, highest = Account(), on_disk.Items(), on_disk.NameSet(), -1
        for path in paths:
            for name, parts in itertools.groupby(archives.members(path), lambda part: _split(part.name)[0]):
                item = _item(name, path, list(parts), account)
                if item is None:
                    continue
                highest = max(highest, -1 if item.labels[1] is None else item.labels[1])
                if not taken.add(item.source_id):
                    item = item._replace(source_id=f"{files.stem(os.path.basename(path))}/{item.source_id}")
                found.append(item)
        if not found:
            raise UserError(f"--archives {self.pattern!r}: no archive has an image. Samples are files like 000000.jpg.")
        names = self._names(highest)
        for item in found if names else ():
            if item.labels[1] is None:
                account.notes.add("classification: no class for this image", f"{item.files[0]}: {item.source_id}")
        count = len(found) + account.dropped.count("image")
        inputs = (self.classes,) if self.classes else ()
        items = on_disk.Items(item._replace(labels=(*item.labels, len(names))) for item in found)
        return Listing(items, {"classification": names} if names else {}, inputs, account, count)

    def _names(self, highest: int) -> tuple[str, ...]:
        """Returns the names of the classes; empty if no sample has one."""
        names = files.read_names(self.classes, MOST, "--classes") if self.classes else ()
        if names and highest >= len(names):
            raise UserError(f"--classes {self.classes} has {len(names)} names, but a sample has the class {highest}.")
        return names if names and highest >= 0 else tuple(str(number) for number in range(highest + 1))

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its one-hot label."""
        part, number, count = item.labels
        sample = images.plain(item, account, part)
        if number is None:
            return sample
        probability = np.zeros([count], np.float32)
        probability[number] = 1.0
        origin = f"real:{files.dataset(os.path.dirname(item.files[0]) or '.')}"
        return sample._replace(labelled={"classification": Labelled({"probability": probability}, origin)})


def _split(name: str) -> tuple[str, str]:
    """Returns the name of the sample and the rest: `deep/000.seg.png` -> `deep/000`, `seg.png`."""
    folder, base = posixpath.split(name)
    stem, _, ending = base.partition(".")
    return posixpath.join(folder, stem), ending


def _item(name: str, path: str, parts: list[FilePart], account: Account) -> Item | None:
    """Returns the item of a sample; its labels are the part of its image and the number of its class or None."""
    place, image, numbers = f"{path}: {name}", None, set[int | None]()
    for part in parts:
        ending = _split(part.name)[1]
        if files.is_hidden(part.name):
            continue
        if ending.lower() == CLASS:  # like the library, which reads all endings in lower case
            numbers.add(_number(path, part, place, account))
        elif files.is_image(f"x.{ending}") and "." not in ending and image is None:
            image = part
        else:
            account.notes.add(f"file: .{ending} in a sample, not used", place)
    if image is None:
        if parts and not files.is_hidden(parts[0].name):
            account.dropped.add("image: sample without an image", place)
        return None
    if len(numbers) > 1:
        account.dropped.add("classification: several classes of one sample, none is used", f"{place}: {numbers}")
    return Item(name, (path,), (image, numbers.pop() if len(numbers) == 1 else None))


def _number(path: str, part: FilePart, place: str, account: Account) -> int | None:
    try:
        text = text_files.decode(archives.read_part(path, part)).text.strip()
    except ValueError:
        text = "not a text"
    if text.isdecimal() and int(text) < MOST:
        return int(text)
    account.dropped.add("classification: class is not a number", f"{place}: {text[:40]!r}")
    return None
