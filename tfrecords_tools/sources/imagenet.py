"""ImageNet (ILSVRC2012): classification.

    ROOT/n01440764/n01440764_10026.JPEG      one folder per synset (train, or val sorted into folders)
    ILSVRC2012_img_train.tar                 the same as published: a tar with one n01440764.tar per synset
    ROOT/n01440764/images/n01440764_0.JPEG   Tiny ImageNet's train; its val/images needs --labels val_annotations.txt
    ROOT/ILSVRC2012_val_00000001.JPEG        no folders, or ILSVRC2012_img_val.tar: needs --labels

`--labels` is a text file with one synset per line, in the order of the images' names, or with lines that begin with an
image's name and its synset (LOC_val_solution.csv). Class ids are the 0-based positions of the sorted synsets. (Model
Garden's ImageNet records count from 1, with 1,001 classes; `must convert mg --first-class 1` reads those.) If
only some synsets are present, or training and validation have different ones, list all synsets with `--classes`
(LOC_synset_mapping.txt, or one per line) to keep the same ids.

Images keep their bytes, also the PNG that is named .JPEG; the few in CMYK become RGB PNGs (see `pixels`).
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from must_tf.common.errors import UserError
from must_tf.data.record import Labelled
from tfrecords_tools.sources import Sample, archives, files, finder, images
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import FilePart, Item, Listing

SYNSET = re.compile(r"n\d{8}")
NAMED = re.compile(r"(.*?\S)[\s,]+(n\d{8})(?!\w)")  # an image's name, which may have blanks, and its synset
INNER = ".tar"


@dataclasses.dataclass(frozen=True)
class Imagenet:
    """`source_id` is the path below `root`, or in the archive, without its suffix.

    Attributes:
      root: folder with synset folders or images, or a tar archive of either.
      labels: file with the synsets of images that are not in synset folders.
      classes: file with all synsets.
    """

    root: str
    labels: str = ""
    classes: str = ""

    def find(self) -> Listing:
        """Lists all images of all synsets.

        Raises:
          UserError: there is no image, or the labels belong to other images.
        """
        account = Account()
        members = on_disk.DiskTable(self._members(account))
        if not members:
            raise UserError(f"no image in {self.root}. It should contain synset folders (n01440764/) or images.")
        labels = self._synsets(members, account)
        names = self._classes(set(labels.values()))
        ids, items, taken = {name: number for number, name in enumerate(names)}, on_disk.Items(), on_disk.NameSet()
        for name, (path, part) in members.items():
            stem = files.stem(name)
            if stem in labels:
                source_id = files.unique_id(stem, name, taken, account)
                items.append(Item(source_id, (path,), (part, ids[labels[stem]], len(names))))
            else:
                account.dropped.add("image: no label", os.path.join(path, name) if part else path)
        inputs = tuple(path for path in (self.labels, self.classes) if path)
        return Listing(items, {"classification": names}, inputs, account, len(items) + account.dropped.count("image"))

    def _members(self, account: Account) -> Iterator[tuple[str, tuple[str, FilePart | None]]]:
        """Yields the name below the root of each image, its file, and its part of the file; notes other files."""
        if not archives.is_tar(self.root):
            files.require_folder(self.root, "--root")
            for name in files.images_below(self.root, account):
                yield name, (os.path.join(self.root, name), None)
            return
        files.require_file(self.root, "--root")
        for part in self._parts():
            if files.is_image(part.name):
                yield part.name, (self.root, part)
            else:
                files.note_unused([part.name], self.root, account)

    def _parts(self) -> Iterator[FilePart]:
        for part in archives.members(self.root):
            if part.name.endswith(INNER):
                synset = files.stem(part.name)
                for inner in archives.members(self.root, part.offset, part.size):
                    yield inner._replace(name=f"{synset}/{inner.name}")
            else:
                yield part

    def _synsets(self, names: Collection[str], account: Account) -> Mapping[str, str]:
        """Returns {path without suffix: synset}."""
        if not self.labels:
            return on_disk.DiskTable((files.stem(name), self._folder_of(name)) for name in names)
        lines = files.read_lines(self.labels, "--labels")
        first_words = [re.split(r"[\s,]+", line)[0] for line in lines]
        if all(SYNSET.fullmatch(word) for word in first_words):
            return self._by_order(names, first_words)
        pairs = [match.groups() for line in lines if (match := NAMED.match(line))]
        synsets = dict[str, set[str]]()
        for name, synset in pairs:
            synsets.setdefault(files.stem(os.path.basename(finder.normalised(name))), set()).add(synset)
        if not synsets:
            raise UserError(f"--labels {self.labels}: no line has a synset like n01440764, or a name and a synset.")
        for base in sorted(base for base, found in synsets.items() if len(found) > 1):
            account.notes.add("classification: several synsets of an image in the list, none is used", base)
        by_image = {base: found.pop() for base, found in synsets.items() if len(found) == 1}
        by_base = on_disk.DiskTable((files.stem(os.path.basename(name)), files.stem(name)) for name in names)
        seen, repeated = on_disk.NameSet(), on_disk.NameSet()
        for base in (files.stem(os.path.basename(name)) for name in names):
            if not seen.add(base) and base in by_image and repeated.add(base):
                account.notes.add("classification: a name in the list fits several images, used for none", base)
        present = sorted(base for base in by_image if base in by_base and base not in repeated)
        files.require_some(present, sorted(by_image), self.root, f"Give the --labels of these images: {self.labels}.")
        for missing in sorted(base for base in by_image if base not in by_base):
            account.dropped.add("image: file is missing", missing)
        return {by_base[base]: by_image[base] for base in present}

    def _folder_of(self, name: str) -> str:
        folders = os.path.dirname(name).split("/")
        synset = next((folder for folder in reversed(folders) if SYNSET.fullmatch(folder)), folders[-1])
        if not SYNSET.fullmatch(synset):
            raise UserError(
                f"{self.root}: {name} is not in a synset folder like n01440764/. Give --labels for images without "
                "folders; for other class names use `must convert classes`."
            )
        return synset

    def _by_order(self, names: Collection[str], synsets: list[str]) -> dict[str, str]:
        if len(synsets) != len(names):
            raise UserError(
                f"--labels {self.labels} has {len(synsets)} lines, but {self.root} has {len(names)} images. Give one "
                "line per image, in the order of their names."
            )
        return {files.stem(name): synset for name, synset in zip(names, synsets, strict=True)}

    def _classes(self, used: set[str]) -> tuple[str, ...]:
        if not self.classes:
            return tuple(sorted(used))
        synsets = tuple(sorted({line.split()[0] for line in files.read_lines(self.classes, "--classes")}))
        if unknown := sorted(used - set(synsets)):
            raise UserError(
                f"--classes {self.classes} lacks {len(unknown)} of the synsets, such as {unknown[0]}. Add them."
            )
        return synsets

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its one-hot label."""
        part, number, count = item.labels
        probability = np.zeros([count], np.float32)
        probability[number] = 1.0
        labelled = {"classification": Labelled({"probability": probability}, "real:imagenet")}
        return images.plain(item, account, part)._replace(labelled=labelled)
