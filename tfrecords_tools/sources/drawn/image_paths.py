"""The images that a file of annotations names, each of which it may describe once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tfrecords_tools.sources import files
from tfrecords_tools.sources.finder import Finder
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account

MISSING = "image: file is missing"


class ImagePaths:
    """The images below a folder."""

    def __init__(self, folder: str, option: str = "--images"):
        """Lists the folder. Raises UserError if it is not one."""
        files.require_folder(folder, option)
        self._folder = folder
        self._finder, self._taken = Finder(files.walk(folder), folder), on_disk.NameSet()

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
        found, shown = self._finder.find(*names), shown or names[0]
        if found is None or not files.is_image(found.path):
            account.dropped.add(MISSING, shown)
            return None
        if not self._taken.add(found.path):
            account.dropped.add(twice, shown)
            return None
        if found.how:
            account.notes.add(found.how, f"{shown} is {found.path}")
        return found.path

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
