"""Generated scenes with exact labels, converted like any other dataset."""

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
      count, seed, size: number of scenes, random seed, and side in pixels.
      tasks: "" for the domain's own tasks, "all", "none", or names separated by commas.
    """

    domain: str
    count: int
    seed: int
    size: int = 128
    tasks: str = ""

    def find(self) -> Listing:
        """Lists one item per scene.

        Raises:
          UserError: the domain or a task does not exist, or a number is too small.
        """
        if self.domain not in scenes.DOMAINS:
            known = ", ".join(scenes.DOMAINS)
            guess = nearest(self.domain, scenes.DOMAINS)
            raise UserError(f"--domain {self.domain!r} does not exist.{guess} Choose from {known}.")
        for option, value, minimum in (("count", self.count, 1), ("seed", self.seed, 0), ("size", self.size, 16)):
            if value < minimum:
                raise UserError(f"--{option} {value} must be at least {minimum}.")
        items = on_disk.Items(Item(f"{self.domain}-{self.seed}-{i}", (), i) for i in range(self.count))
        tasks = self._tasks()
        return Listing(items, {task: scenes.CLASSES[task] for task in tasks if scenes.CLASSES[task]}, tasks=tasks)

    def _tasks(self) -> tuple[str, ...]:
        if not self.tasks:
            return tuple(scenes.DOMAINS[self.domain].tasks)
        if self.tasks in ("all", "none"):
            return tuple(scenes.CLASSES) if self.tasks == "all" else ()
        names = tuple(name.strip() for name in self.tasks.split(","))
        for name in names:
            if name not in scenes.CLASSES:
                known = (*scenes.CLASSES, "all", "none")
                guess = nearest(name, known)
                raise UserError(f"--tasks {name!r} does not exist.{guess} Choose from {', '.join(known)}.")
            if missing := [need for need in discover()[name].needs if need not in names]:
                raise UserError(f"--tasks {self.tasks}: {name} needs {missing[0]}. Name both or neither.")
        return names

    def load(self, item: Item, account: Account) -> Sample:
        """Renders the scene as PNG, which keeps its exact pixels."""
        del account
        scene = scenes.render(self.domain, self.seed, item.labels, (self.size, self.size))
        png = cv2.imencode(".png", scene.image[..., ::-1])[1].tobytes()
        origin = f"real:scenes-{self.domain}"
        labelled = {task: Labelled(scene.labels[task], origin) for task in self._tasks()}
        return Sample(png, ImageInfo(item.source_id, self.size, self.size), labelled)
