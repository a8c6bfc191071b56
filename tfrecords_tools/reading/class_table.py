"""Labels under other class ids: those of other records, or with some classes left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from must_tf.spec import Labels
from must_tf.tasks.segmentation.labels import IGNORE

REST = {"segmentation": "background"}  # the class that means "none of the other classes"


class ClassTable(NamedTuple):
    """The new names of a task, and the place of each old name among them; -1 if it is left out."""

    names: tuple[str, ...]
    places: tuple[int, ...]

    @classmethod
    def by_name(cls, old: Sequence[str], new: Sequence[str]) -> ClassTable:
        """Returns the table that gives each old class the place of its name among the new ones."""
        places = {name: place for place, name in enumerate(new)}
        return cls(tuple(new), tuple(places.get(name, -1) for name in old))

    def relabelled(self, labels: Labels, first: int) -> Labels | None:
        """Returns the labels with new ids; None if nothing of a distribution is left.

        Objects of a class that is left out are dropped, its pixels are ignored, and its share of a distribution is
        spread over the others. Labels without classes are returned as they are.

        Args:
          labels: of one task and image.
          first: id of the first class.
        """
        places = np.array(self.places)
        if "boxes" in labels:
            new = places[np.asarray(labels["classes"], np.int64) - first]
            kept = np.flatnonzero(new >= 0)
            chosen = {
                key: [values[place] for place in kept] if isinstance(values, list) else values[kept]
                for key, values in labels.items()
            }
            return chosen | {"classes": (new[kept] + first).astype(np.int32)}
        if "probability" in labels:
            probability = np.zeros([len(self.names)], np.float32)
            np.add.at(probability, places[places >= 0], labels["probability"][places >= 0])
            share = probability.sum()
            return labels | {"probability": probability / share} if share > 0 else None
        if "classes" in labels:
            table = np.append(np.where(places >= 0, places, IGNORE), np.full(IGNORE + 1 - len(places), IGNORE))
            return labels | {"classes": table[labels["classes"]].astype(np.int32)}
        return labels
