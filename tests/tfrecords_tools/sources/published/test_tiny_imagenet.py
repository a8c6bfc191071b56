"""Tiny ImageNet is read as ImageNet: its images are one folder deeper, its validation has a list."""

from __future__ import annotations

from pathlib import Path

from tests.support.converting import converted, noise, save
from tests.support.datasets.drawn import write
from tfrecords_tools.sources.imagenet import Imagenet

SYNSETS = ("n02124075", "n04067472", "n04540053")


def test_training_and_validation_have_the_same_ids(tmp_path: Path) -> None:
    root = tmp_path / "tiny-imagenet-200"
    for synset in SYNSETS:
        save(root / f"train/{synset}/images/{synset}_0.JPEG", noise(64, 64))
        write(root / f"train/{synset}/{synset}_boxes.txt", f"{synset}_0.JPEG\t0\t10\t63\t58\n")
    train = converted(Imagenet(f"{root}/train"), tmp_path / "train")
    assert train.outcome.manifest.classes == {"classification": list(SYNSETS)}
    assert train.records[f"{SYNSETS[1]}/images/{SYNSETS[1]}_0"].labels["classification"]["probability"].argmax() == 1
    assert train.notes()["image: files with the ending .txt are not read"] == 3
    save(root / "val/images/val_0.JPEG", noise(64, 64))
    save(root / "val/images/val_1.JPEG", noise(64, 64, 1))
    labels = write(
        root / "val/val_annotations.txt",
        f"val_0.JPEG\t{SYNSETS[2]}\t0\t32\t44\t62\nval_1.JPEG\t{SYNSETS[0]}\t1\t2\t3\t4\n",
    )
    names = write(root / "wnids.txt", "\n".join(reversed(SYNSETS)))
    val = converted(Imagenet(f"{root}/val/images", labels, names), tmp_path / "val")
    assert val.outcome.manifest.classes == train.outcome.manifest.classes
    found = {key: int(record.labels["classification"]["probability"].argmax()) for key, record in val.records.items()}
    assert found == {"val_0": 2, "val_1": 0}
