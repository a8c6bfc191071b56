"""The images that a file of annotations names, each of which it may describe once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from tfrecords_tools.sources import files
from tfrecords_tools.sources.finder import Finder, may_be_one, normalised, written_name
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account

MISSING = "image: file is missing"
CONTESTED = "image: other names in the annotations fit the same file"


class ImagePaths:
    """The images below a folder.

    Attributes:
      contested: paths of images that were taken by a name which is not theirs, and that another name fits, too: nothing
        tells whose they are. `pictures.listing` drops them.
    """

    def __init__(self, folder: str, option: str = "--images"):
        """Lists the folder. Raises UserError if it is not one."""
        files.require_folder(folder, option)
        self._folder = folder
        self._finder, self._guessed, self.contested = (
            Finder(files.walk(folder), folder),
            on_disk.NameSet(),
            on_disk.NameSet(),
        )

    def __contains__(self, name: str) -> bool:
        return normalised(name) in self._finder

    def take(self, account: Account, *names: str, twice: str, shown: str = "") -> str | None:
        """Returns the path, below the folder, of the image that an annotation is about.

        Args:
          account: counts images that are missing or named before, and notes how the others were found.
          names: the image's possible names, most reliable first; see `finder`.
          twice: the reason to count if the image was taken before.
          shown: the annotation, for the account's examples; its first name by default.

        Returns:
          None if there is no such image, or if it was taken before.
        """
        shown = shown or names[0]
        fitting = ((name, found) for name in names if (found := self._finder.find(name)))
        own, found = next(fitting, ("", None))
        if found is None or not files.is_image(found.path):
            account.dropped.add(MISSING, shown)
            return None
        if before := self._finder.take(found.path, written_name(own)):
            is_same = may_be_one(before, written_name(own))
            account.dropped.add(twice if is_same else self._contest(found.path), shown)
            return None
        if found.how:
            self._guessed.add(found.path)
            account.notes.add(found.how, f"{shown} is {found.path}")
        return found.path

    def _contest(self, path: str) -> str:
        """Returns why an annotation does not get an image that another has, which loses it if its name is another."""
        if path not in self._guessed:
            return MISSING
        self.contested.add(os.path.join(self._folder, path))
        return CONTESTED

    def note_others(self, account: Account, annotations: Iterable[str], with_images: bool = True) -> None:
        """Notes the files that nothing was about, once per kind.

        Args:
          account: for the notes.
          annotations: paths of files that were read, which may be in the same folder.
          with_images: False if the images that no annotation was about are used anyway.
        """
        self._finder.use_paths(annotations)
        left = (name for name in self._finder.unused() if with_images or not files.is_image(name))
        files.note_unused(left, self._folder, account)

    def others(self) -> Iterator[str]:
        """Yields the paths of the images that no annotation was about."""
        return filter(files.is_image, self._finder.unused())
