"""ADE20K and Cityscapes in their published layouts; ids by hand from the datasets' own tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from must_tf.common.errors import UserError
from must_tf.tasks.masks.labels import paste
from tests.support.converting import Converted, converted, must_records, noise, save
from tests.support.datasets.ade_and_cityscapes import HEIGHT, STEM, TABLE, WIDTH, ade, city, columns, instance_ids
from tfrecords_tools.sources.cityscapes import Cityscapes
from tfrecords_tools.sources.only import only
from tfrecords_tools.sources.published.ade20k import Ade20k


def test_ade20k_counts_from_one_and_ignores_other(tmp_path: Path) -> None:
    result = converted(Ade20k(ade(tmp_path, columns([0, 1, 2]))), tmp_path / "out")
    classes = result.records["ADE_train_00000001"].labels["segmentation"]["classes"]
    np.testing.assert_array_equal(classes, columns([255, 0, 1]))
    assert result.outcome.manifest.classes == {"segmentation": ["wall", "building, edifice"]}
    assert result.outcome.manifest.origins == {"segmentation": {"real:ADEChallengeData2016": 1}}
    assert result.counts() == {"image: no annotation": 1}


def test_labels_that_cannot_be_used_count_as_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The only map has colours, so the only photo with labels loses them."""
    root = ade(tmp_path, np.zeros([HEIGHT, WIDTH, 3], np.uint8))
    (Path(root) / "images" / "training" / "ADE_train_00000002.jpg").unlink()
    command = f"convert ade20k --root {root} --out {tmp_path}/out --workers 1 --json".split()
    assert must_records(command, monkeypatch) == 1
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert (told["image_drop_rate"], told["label_drop_rates"]) == (0.0, {"segmentation": 1.0})
    assert "error: 100.0% of the segmentation labels were dropped; --max-drop-rate allows 1.0%" in printed.err
    unasked = converted(only(Ade20k(root), "depth"), tmp_path / "other").outcome
    assert (unasked.label_drop_rates, unasked.worst()[0]) == ({}, 0.0)


def test_the_label_drop_rate_is_relative_to_existing_labels(tmp_path: Path) -> None:
    """One of three maps has colours."""
    root = Path(ade(tmp_path, columns([0, 1])))
    for number, ids in ((2, columns([1])), (3, noise(HEIGHT, WIDTH, 3))):
        save(root / "images" / "training" / f"ADE_train_{number:08}.jpg", noise(HEIGHT, WIDTH, number))
        save(root / "annotations" / "training" / f"ADE_train_{number:08}.png", ids)
    outcome = converted(Ade20k(str(root)), tmp_path / "out").outcome
    assert outcome.label_drop_rates == {"segmentation": pytest.approx(1 / 3)}
    assert outcome.worst() == (pytest.approx(1 / 3), "segmentation labels")


def test_ade20k_ends_with_the_file_and_the_value_that_has_no_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ADE_train_00000001\.png: value 7 on 512 pixels is not one of the 2 classes"):
        converted(Ade20k(ade(tmp_path, columns([0, 7, 2]))), tmp_path / "out")


def test_ade20k_says_what_is_missing(tmp_path: Path) -> None:
    root = Path(ade(tmp_path, columns([0])))
    with pytest.raises(UserError, match="Did you mean 'training'"):
        Ade20k(str(root), "train").find()
    (root / "objectInfo150.txt").write_text(TABLE.replace("2\t0.1", "3\t0.1"))
    with pytest.raises(UserError, match="expected number 2 and its name"):
        Ade20k(str(root)).find()
    (root / "objectInfo150.txt").write_text(TABLE)
    (root / "annotations" / "training" / "ADE_train_00000001.png").rename(root / "annotations" / "training" / "x.png")
    with pytest.raises(UserError, match=r"images/training contains none of the 1 annotated images \(such as x\)"):
        Ade20k(str(root)).find()


def test_a_damaged_map_drops_the_label_and_a_map_of_another_size_the_image(tmp_path: Path) -> None:
    root = Path(ade(tmp_path, columns([0])))
    path = root / "annotations" / "training" / "ADE_train_00000001.png"
    path.write_bytes(path.read_bytes()[:40])
    damaged = converted(Ade20k(str(root)), tmp_path / "damaged")
    assert damaged.records["ADE_train_00000001"].labels == {}
    assert damaged.counts()["segmentation: file cannot be decoded"] == 1
    save(path, columns([0])[1:])
    with_other = converted(Ade20k(str(root)), tmp_path / "other")
    assert with_other.records == {}
    assert with_other.counts()["image: size differs from its labels'"] == 1


# label id -> train id, as cityscapesscripts' table has them; license plate (-1) is never drawn.
TRAIN_IDS = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13}
TRAIN_IDS |= {27: 14, 28: 15, 31: 16, 32: 17, 33: 18}


@pytest.fixture(scope="module")
def cityscapes(tmp_path_factory: pytest.TempPathFactory) -> Converted:
    """The training image."""
    root = tmp_path_factory.mktemp("city")
    return converted(Cityscapes(city(root)), root / "out")


def test_cityscapes_has_the_train_ids(cityscapes: Converted) -> None:
    found = cityscapes.records[STEM].labels["segmentation"]["classes"].ravel()
    assert [found[label_id] for label_id in range(34)] == [TRAIN_IDS.get(label_id, 255) for label_id in range(34)]
    names = cityscapes.outcome.manifest.classes["segmentation"]
    assert (len(names), names[0], names[10], names[13], names[18]) == (19, "road", "sky", "car", "bicycle")


def test_cityscapes_instances_are_things_with_tight_boxes(cityscapes: Converted) -> None:
    labels = cityscapes.records[STEM].labels["masks"]
    names = [cityscapes.outcome.manifest.classes["masks"][i - 1] for i in labels["classes"]]
    by_value = dict(zip((24, 24000, 26000, 26001), range(4), strict=True))  # in the order of the values
    assert names == ["person", "person", "car", "car"]
    assert labels["is_crowd"].tolist() == [True, False, False, False]
    boxes = labels["boxes"] * np.array([HEIGHT, WIDTH] * 2)
    wanted = [[22, 28, 30, 44], [3, 30, 20, 33], [4, 5, 10, 15], [20, 2, 30, 12]]
    np.testing.assert_allclose(boxes, wanted, atol=1e-4)
    for value, mask in zip(by_value, paste(labels, HEIGHT, WIDTH), strict=True):
        np.testing.assert_array_equal(mask, instance_ids() == value)
    assert labels["area"].tolist() == [128, 51, 60, 32]
    assert (cityscapes.counts(), cityscapes.notes()) == ({}, {})


def test_cityscapes_test_stays_unlabelled(tmp_path: Path) -> None:
    result = converted(Cityscapes(city(tmp_path), "test"), tmp_path / "out")
    assert result.records["bonn_000000_000019"].labels == {}
    assert result.notes() == {"segmentation: labels of test are withheld": 1}


def test_cityscapes_says_what_does_not_fit(tmp_path: Path) -> None:
    root = Path(city(tmp_path, np.full([HEIGHT, WIDTH], 34000, np.uint16)))
    with pytest.raises(UserError, match=r"instanceIds\.png: value 34000 is not an instance id"):
        converted(Cityscapes(str(root)), tmp_path / "out")
    with pytest.raises(UserError, match="Did you mean 'train'"):
        Cityscapes(str(root), "trian").find()
    for path in (root / "gtFine" / "train" / "aachen").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="gtFine/train contains none of the 1 annotated images"):
        Cityscapes(str(root)).find()
    save(root / "gtFine" / "train" / "aachen" / f"{STEM}_gtFine_labelIds.png", columns([7, 34]))
    with pytest.raises(UserError, match=r"labelIds\.png: value 34 on 768 pixels"):
        converted(Cityscapes(str(root)), tmp_path / "out2")


def replaced(root: Path, kind: str, values: np.ndarray) -> str:
    """The training image with another label file; returns the root."""
    city(root)
    save(root / "cityscapes" / "gtFine" / "train" / "aachen" / f"{STEM}_gtFine_{kind}.png", values)
    return str(root / "cityscapes")


@pytest.mark.parametrize("value", [192, 500, 999])
def test_cityscapes_instance_ids_of_8_bits_are_refused(value: int, tmp_path: Path) -> None:
    """A person of 24000 would be 192, which is no thing: the image would show no person."""
    root = city(tmp_path, np.where(instance_ids() == 24000, value, instance_ids()).astype(np.uint16))
    with pytest.raises(UserError, match=rf"value {value} is not an instance id .* must have 16 bits"):
        converted(Cityscapes(root), tmp_path / "out")


@pytest.mark.parametrize(("kind", "kept"), [("labelIds", {"detection", "masks"}), ("instanceIds", {"segmentation"})])
def test_of_two_maps_the_one_of_another_size_is_dropped(kind: str, kept: set[str], tmp_path: Path) -> None:
    result = converted(Cityscapes(replaced(tmp_path, kind, columns([7, 8])[:16])), tmp_path / "out")
    assert set(result.records[STEM].labels) == kept
    task = "segmentation" if kind == "labelIds" else "masks"
    assert result.counts() == {f"{task}: size differs from its image's": 1}


def test_cityscapes_label_ids_that_contradict_the_instances_are_noted(tmp_path: Path) -> None:
    result = converted(Cityscapes(replaced(tmp_path, "labelIds", columns([7]))), tmp_path / "out")
    assert result.notes() == {"masks: the instances' classes are not those of the label ids": 1}


def test_maps_that_count_otherwise_are_named(tmp_path: Path) -> None:
    """255 is in train ids, and in maps of ADE20K that other projects have changed."""
    with pytest.raises(UserError, match=r"value 255 .* may be train ids.* call the files \*_gtFine_labelTrainIds"):
        converted(Cityscapes(replaced(tmp_path, "labelIds", columns([7, 255]))), tmp_path / "out")
    with pytest.raises(
        UserError, match="value 255 .* count from 0 and ignore 255, convert them with `must convert rgbd`"
    ):
        converted(Ade20k(ade(tmp_path, columns([0, 255]))), tmp_path / "ade")


def test_a_jpeg_is_no_map(tmp_path: Path) -> None:
    """Its values are near the ids, and near an id is another one."""
    root = Path(ade(tmp_path, columns([0])))
    stem = root / "annotations" / "training" / "ADE_train_00000001"
    save(f"{stem}.jpg", columns([0, 1, 2, 1]))
    stem.with_suffix(".png").unlink()
    result = converted(Ade20k(str(root)), tmp_path / "out")
    assert result.counts()["segmentation: a JPEG, which changes the ids; save the map as PNG"] == 1
    assert result.records["ADE_train_00000001"].labels == {}


@pytest.mark.parametrize("between", [" ", ","])
def test_ade20k_names_without_tabs_are_refused(between: str, tmp_path: Path) -> None:
    root = ade(tmp_path, columns([0]), TABLE.replace("\t", between))
    with pytest.raises(UserError, match="has 0 names.* Separate its columns by tabs"):
        Ade20k(root).find()
