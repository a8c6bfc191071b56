"""Generated scenes with exact labels: the embedded data, written as records like any other dataset."""

from __future__ import annotations

import dataclasses

import cv2

from must_tf.common.errors import UserError, nearest
from must_tf.data import scenes
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from tfrecords_tools.sources import Sample
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account
from tfrecords_tools.writing.items import Item, Listing


@dataclasses.dataclass(frozen=True)
class Scenes:
    """`source_id` is `<domain>-<seed>-<index>`.

    Attributes:
      domain: a name in `must_tf.data.scenes.DOMAINS`.
      count, seed, size: how many, which, and the side in pixels.
      tasks: "", the domain's own; "all", "none", or names with commas between.
    """

    domain: str
    count: int
    seed: int
    size: int = 128
    tasks: str = ""

    def find(self) -> Listing:
        """One item per scene.

        Raises:
          UserError: no such domain or task, or a number that makes no picture.
        """
        if self.domain not in scenes.DOMAINS:
            known = ", ".join(scenes.DOMAINS)
            guess = nearest(self.domain, scenes.DOMAINS)
            raise UserError(f"--domain {self.domain!r} does not exist.{guess} There are {known}.")
        for option, value, least in (("count", self.count, 1), ("seed", self.seed, 0), ("size", self.size, 16)):
            if value < least:
                raise UserError(f"--{option} {value}: must be at least {least}.")
        items = on_disk.Items(Item(f"{self.domain}-{self.seed}-{i}", (), i) for i in range(self.count))
        wanted = self._wanted()
        return Listing(items, {task: scenes.CLASSES[task] for task in wanted if scenes.CLASSES[task]}, tasks=wanted)

    def _wanted(self) -> tuple[str, ...]:
        if not self.tasks:
            return tuple(scenes.DOMAINS[self.domain].tasks)
        if self.tasks in ("all", "none"):
            return tuple(scenes.CLASSES) if self.tasks == "all" else ()
        wanted = tuple(name.strip() for name in self.tasks.split(","))
        for name in wanted:
            if name not in scenes.CLASSES:
                known = (*scenes.CLASSES, "all", "none")
                guess = nearest(name, known)
                raise UserError(f"--tasks {name!r} does not exist.{guess} There are {', '.join(known)}.")
            if missing := [need for need in discover()[name].needs if need not in wanted]:
                raise UserError(f"--tasks {self.tasks}: {name} needs {missing[0]}; name both, or neither.")
        return wanted

    def load(self, item: Item, account: Account) -> Sample:
        """Renders the scene; PNG, so that its pixels are what was rendered."""
        del account
        scene = scenes.render(self.domain, self.seed, item.labels, (self.size, self.size))
        png = cv2.imencode(".png", scene.image[..., ::-1])[1].tobytes()
        origin = f"real:scenes-{self.domain}"
        labelled = {task: Labelled(scene.labels[task], origin) for task in self._wanted()}
        return Sample(png, ImageInfo(item.source_id, self.size, self.size), labelled)
