"""A dataset of TFDS with three small examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from tests.support.converting import noise

HEIGHT, WIDTH = 30, 40
PETS = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH, 1) % 3


def example(number: int) -> dict[str, Any]:
    """An example of all kinds of features."""
    boxes = [(0.1, 0.2, 0.5, 0.6), (0.5, 0.5, 1.2, 1.0), (0.4, 0.4, 0.3, 0.9)][: number + 1]
    objects = [
        {"bbox": tfds.features.BBox(*box), "label": place % 2, "is_difficult": place == 1}
        for place, box in enumerate(np.clip(boxes, 0, 1).tolist() if number < 2 else [])
    ]
    return {
        "photo": {"jpeg": noise(HEIGHT, WIDTH, number)},
        "label": ("cat", "dog")[number % 2] if number < 2 else -1,
        "objects": objects,
        "pixels": PETS.astype(np.uint8),
        "depth": np.full([HEIGHT, WIDTH], 1500.0 + number, np.float32),
    }


class MustTiny(tfds.core.GeneratorBasedBuilder):
    """Three examples with labels for everything."""

    VERSION = tfds.core.Version("1.0.0")
    url_infos: dict[str, Any] = {}  # nothing is downloaded

    def _info(self) -> tfds.core.DatasetInfo:
        objects = {"bbox": tfds.features.BBoxFeature(), "label": tfds.features.ClassLabel(names=["car", "bus"])}
        features = {
            "photo": {"jpeg": tfds.features.Image(encoding_format="png")},
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "objects": tfds.features.Sequence(objects | {"is_difficult": np.bool_}),
            "pixels": tfds.features.Image(shape=(None, None, 1)),
            "depth": tfds.features.Tensor(shape=(HEIGHT, WIDTH), dtype=np.float32),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Any:
        for number in range(3):
            yield number, example(number)
