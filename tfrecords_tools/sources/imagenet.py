"""ImageNet (ILSVRC2012): classification.

    ROOT/n01440764/n01440764_10026.JPEG      one folder per synset (train, or val sorted into folders)
    ILSVRC2012_img_train.tar                 the same as published: a tar of one n01440764.tar per synset
    ROOT/ILSVRC2012_val_00000001.JPEG        flat, or ILSVRC2012_img_val.tar: with --labels

`--labels` is a text file: one synset per line in the order of the images' names, or lines that begin with an image's
name and its synset (LOC_val_solution.csv). Class ids are 0-based places in the sorted synsets. (Model Garden's ImageNet
records count from 1, with 1,001 classes; `must-records convert mg --first-class 1` reads those.) For a part of the set,
and to give training and validation the same ids, name all synsets with `--classes` (LOC_synset_mapping.txt, or one a
line).

Images are stored as they are found: the few in CMYK, and the PNG that is named JPEG, become PNG in RGB or keep their
bytes, see `pixels`.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator, Mapping

import numpy as np

from must_tf.common.errors import UserError
from must_tf.data.record import Labelled
from tfrecords_tools.sources import Sample, archives, files, images
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import FilePart, Item, Listing

SYNSET = re.compile(r"n\d{8}")
INNER = ".tar"


@dataclasses.dataclass(frozen=True)
class Imagenet:
    """`source_id` is the path below `root`, or in it, without its suffix.

    Attributes:
      root: folder of synset folders or of images, or a tar archive of one of them.
      labels: file with the synsets of flat images.
      classes: file with all synsets.
    """

    root: str
    labels: str = ""
    classes: str = ""

    def find(self) -> Listing:
        """All images of all synsets.

        Raises:
          UserError: no image, or labels that belong to other images.
        """
        account = Account()
        found = list(self._members())
        if not found:
            raise UserError(f"no image in {self.root}: folders of synsets (n01440764/) or images are expected.")
        labels = self._synsets([name for name, _, _ in found], account)
        names = self._classes(set(labels.values()))
        ids = {name: number for number, name in enumerate(names)}
        items = []
        for name, path, part in found:
            stem = files.stem(name)
            if stem in labels:
                items.append(Item(stem, (path,), (part, ids[labels[stem]], len(names))))
            else:
                account.dropped.add("image: no label", os.path.join(path, name) if part else path)
        inputs = tuple(path for path in (self.labels, self.classes) if path)
        return Listing(items, {"classification": names}, inputs, account, len(items) + account.dropped.count("image"))

    def _members(self) -> Iterator[tuple[str, str, FilePart | None]]:
        """Name below the root, file, and the place in it, of all images in the order of their names."""
        if not archives.is_tar(self.root):
            files.require_folder(self.root, "--root")
            for name in sorted(filter(files.is_image, files.walk(self.root))):
                yield name, os.path.join(self.root, name), None
            return
        files.require_file(self.root, "--root")
        yield from sorted((part.name, self.root, part) for part in self._parts())

    def _parts(self) -> Iterator[FilePart]:
        for part in archives.members(self.root):
            if part.name.endswith(INNER):
                synset = files.stem(part.name)
                for inner in archives.members(self.root, part.offset, part.size):
                    yield inner._replace(name=f"{synset}/{inner.name}")
            elif files.is_image(part.name):
                yield part

    def _synsets(self, names: list[str], account: Account) -> Mapping[str, str]:
        """Path without suffix -> synset."""
        if not self.labels:
            return {files.stem(name): self._folder_of(name) for name in names}
        lines = [re.split(r"[\s,]+", line) for line in files.read_lines(self.labels, "--labels")]
        if all(SYNSET.fullmatch(words[0]) for words in lines):
            return self._by_order(names, [words[0] for words in lines])
        named = {files.stem(words[0]): words[1] for words in lines if len(words) > 1 and SYNSET.fullmatch(words[1])}
        if not named:
            raise UserError(f"--labels {self.labels}: no line is a synset like n01440764, or an image's name and one.")
        by_base = {files.stem(os.path.basename(name)): files.stem(name) for name in names}
        there = sorted(named.keys() & by_base.keys())
        files.require_some(there, sorted(named), self.root, f"{self.labels} names other images.")
        for gone in sorted(named.keys() - by_base.keys()):
            account.dropped.add("image: file is missing", gone)
        return {by_base[base]: named[base] for base in there}

    def _folder_of(self, name: str) -> str:
        synset = os.path.basename(os.path.dirname(name))
        if not SYNSET.fullmatch(synset):
            raise UserError(
                f"{self.root}: {name} does not lie in a synset's folder like n01440764/. For images without folders "
                "give --labels; for other class names use `must-records convert classes`."
            )
        return synset

    def _by_order(self, names: list[str], synsets: list[str]) -> dict[str, str]:
        if len(synsets) != len(names):
            raise UserError(
                f"--labels {self.labels} has {len(synsets)} lines for {len(names)} images in {self.root}. One per "
                "image is expected, in the order of their names."
            )
        return {files.stem(name): synset for name, synset in zip(names, synsets, strict=True)}

    def _classes(self, found: set[str]) -> tuple[str, ...]:
        if not self.classes:
            return tuple(sorted(found))
        named = tuple(sorted({line.split()[0] for line in files.read_lines(self.classes, "--classes")}))
        if unknown := sorted(found - set(named)):
            raise UserError(f"--classes {self.classes} lacks {len(unknown)} synsets, {unknown[0]} for instance.")
        return named

    def load(self, item: Item, account: Account) -> Sample:
        """The image and its one-hot label."""
        del account
        part, number, count = item.labels
        probability = np.zeros([count], np.float32)
        probability[number] = 1.0
        labelled = {"classification": Labelled({"probability": probability}, "real:imagenet")}
        return images.plain(item, part)._replace(labelled=labelled)
