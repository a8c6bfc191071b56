"""ADE20K and Cityscapes in small, in the published layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.converting import noise, save

HEIGHT, WIDTH = 32, 48


def columns(values: list[int], dtype: type = np.uint8) -> np.ndarray:
    """Returns a map of stripes of equal width with these values."""
    return np.repeat(np.array([values], dtype), WIDTH // len(values), axis=1).repeat(HEIGHT, axis=0)


TABLE = (
    "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1576\t11664\t1172\t1\twall\n2\t0.1072\t6046\t612\t1\tbuilding, edifice\n"
)


def ade(root: Path, ids: np.ndarray, table: str = TABLE) -> str:
    """Writes ADEChallengeData2016 with two training images, the second without annotation; returns its path."""
    folder = root / "ADEChallengeData2016"
    for number in (1, 2):
        save(folder / "images" / "training" / f"ADE_train_{number:08}.jpg", noise(HEIGHT, WIDTH, number))
    save(folder / "annotations" / "training" / "ADE_train_00000001.png", ids)
    (folder / "objectInfo150.txt").write_text(table)
    return str(folder)


STEM = "aachen_000000_000019"


def instance_ids() -> np.ndarray:
    """Returns two cars, one of them in two pieces, a person, a group of persons, and road; uint16 as published."""
    ids = np.full([HEIGHT, WIDTH], 7, np.uint16)
    ids[4:10, 5:15] = 26000
    ids[20:24, 2:6], ids[26:30, 8:12] = 26001, 26001
    ids[3:20, 30:33] = 24000
    ids[22:30, 28:44] = 24
    return ids


def city(root: Path, instances: np.ndarray | None = None) -> str:
    """Writes a training image with every label id in its first row, and a test image; returns the root."""
    folder = root / "cityscapes"
    ids = np.where(instance_ids() < 1000, instance_ids(), instance_ids() // 1000)
    ids[0] = np.arange(WIDTH) % 34
    save(folder / "leftImg8bit" / "train" / "aachen" / f"{STEM}_leftImg8bit.png", noise(HEIGHT, WIDTH))
    save(folder / "leftImg8bit" / "test" / "bonn" / "bonn_000000_000019_leftImg8bit.png", noise(HEIGHT, WIDTH))
    gt = folder / "gtFine" / "train" / "aachen"
    save(gt / f"{STEM}_gtFine_labelIds.png", ids.astype(np.uint8))
    save(gt / f"{STEM}_gtFine_instanceIds.png", instance_ids() if instances is None else instances)
    return str(folder)
