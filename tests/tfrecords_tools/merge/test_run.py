"""Merging: every label stays with its image and gets the right class; labels that cannot be kept are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from must_tf.data import record
from must_tf.spec import ImageInfo
from must_tf.tasks import discover
from tests.support.converting import files_in, must_records, read
from tests.support.merging import (
    BOXES,
    H,
    W,
    features,
    image_record,
    make,
    masks,
    merged,
    metres,
    notes,
    objects,
    picture,
)
from tfrecords_tools.convert import run as convert
from tfrecords_tools.merge.run import meaningful_ids, merged_sets


def test_labels_of_one_image_come_together(patterns: list[str], tmp_path: Path) -> None:
    written = merged(tmp_path / "out", patterns, shards=2)
    records = read(tmp_path / "out", written.classes)
    assert {name: set(each.labels) for name, each in records.items()} == {
        "1": {"detection"},
        "2": {"detection", "depth"},
        "3": {"depth"},
    }
    np.testing.assert_array_equal(records["2"].labels["detection"]["classes"], [2, 1])
    np.testing.assert_array_equal(records["2"].labels["detection"]["boxes"], BOXES)
    np.testing.assert_allclose(records["2"].labels["depth"]["metres"], 3.0, atol=5e-4)
    assert records["2"].stored == picture(2) and records["3"].stored == picture(3)
    assert written.origins == {"depth": {"real:depth": 2}, "detection": {"real:boxes": 2}}
    assert written.objects == {"detection": {"cat": 2, "dog": 2}}
    assert notes(written) == {}


# --same, the merged names, the second set's new ids of classes [1, 2], the annotated ids of the first and second set
UNITED = {
    "by name": ((), ["person", "airplane", "aeroplane"], [3, 1], [1, 2], [1, 3]),
    "made one": (("aeroplane=airplane",), ["person", "airplane"], [2, 1], [], []),
}


@pytest.mark.parametrize("name", UNITED)
def test_classes_are_united_by_name(name: str, tmp_path: Path) -> None:
    same, names, classes, first, second = UNITED[name]
    labelled = {"detection": (masks([1, 2]), "real:x"), "masks": (masks([1, 2]), "real:x")}
    sets = [["person", "airplane"], ["aeroplane", "person"]]
    given = [
        make(tmp_path / str(number), [image_record(str(number), labelled)], {"detection": each, "masks": each})
        for number, each in enumerate(sets)
    ]
    written = merged(tmp_path / "out", given, same)
    assert written.classes == {"detection": names, "masks": names}
    records = read(tmp_path / "out", written.classes)
    for task in ("detection", "masks"):
        assert records["0"].labels[task]["classes"].tolist() == [1, 2]
        assert records["1"].labels[task]["classes"].tolist() == classes
        for number, wanted in (("0", first), ("1", second)):
            example = tf.train.Example.FromString(records[number].serialized)
            assert record.annotated_of(example, task) == (tuple(wanted) or None)
    assert written.limits == ({task: {"partial": 2} for task in ("detection", "masks")} if first else {})
    assert sum(written.objects["masks"].values()) == 4


def test_pixels_and_distributions_are_rewritten_too(tmp_path: Path) -> None:
    classes = np.arange(H * W).reshape(H, W).astype(np.int32) % 2
    classes[0, 0] = 255
    segmentation = {"classes": classes, "confidence": np.ones([H, W], np.float32)}
    labelled: dict[str, tuple[dict[str, Any], str]] = {
        "segmentation": (segmentation, "real:x"),
        "classification": ({"probability": np.array([0.25, 0.75], np.float32)}, "pseudo:x"),
    }
    given = [
        make(tmp_path / str(n), [image_record(str(n), labelled)], dict.fromkeys(labelled, names))
        for n, names in enumerate((["sky", "tree"], ["tree", "grass"]))
    ]
    written = merged(tmp_path / "out", given)
    assert written.classes["segmentation"] == ["sky", "tree", "grass"]
    second = read(tmp_path / "out", written.classes)["1"].labels
    np.testing.assert_array_equal(second["segmentation"]["classes"], np.where(classes == 255, 255, classes + 1))
    np.testing.assert_array_equal(second["classification"]["probability"], [0.0, 0.25, 0.75])
    assert written.objects["segmentation"] == {"sky": 1, "tree": 2, "grass": 1}
    assert written.objects["classification"] == {"tree": 1, "grass": 1}


def test_real_beats_pseudo_and_the_first_set_wins(tmp_path: Path) -> None:
    pseudo, real, late = (({"depth": (metres(far), origin)}) for far, origin in DEPTHS)
    given = [make(tmp_path / str(n), [image_record("1", each)], {}) for n, each in enumerate((pseudo, real, late))]
    written = merged(tmp_path / "out", given)
    taken = read(tmp_path / "out", {})["1"]
    assert taken.origins == {"depth": "real:b"}
    np.testing.assert_allclose(taken.labels["depth"]["metres"], 2.0, atol=5e-4)
    assert notes(written) == {
        "depth: real label instead of pseudo": 1,
        "depth: labelled twice, the first set's taken": 1,
    }


DEPTHS = ((1.0, "pseudo:a"), (2.0, "real:b"), (3.0, "real:c"))


def test_masks_stay_with_their_boxes(tmp_path: Path) -> None:
    """One set has two boxes, the other a box with its mask, which does not belong to any box of the first."""
    scored = masks([1]) | {"mask_scores": np.array([0.25], np.float32)}
    both = {"detection": (scored, "pseudo:b"), "masks": (scored, "pseudo:b")}
    names = {"detection": ["cat"], "masks": ["cat"]}
    given = [
        make(tmp_path / "a", [image_record("1", {"detection": (objects([1, 1]), "pseudo:a")})], {"detection": ["cat"]}),
        make(tmp_path / "b", [image_record("1", both)], names),
    ]
    written = merged(tmp_path / "out", given)
    (taken,) = read(tmp_path / "out", written.classes).values()
    assert taken.origins == {"detection": "pseudo:a"}
    assert not {"image/object/mask_crop", "image/object/mask_score"} & set(features(taken.serialized))
    assert notes(written)["masks: belong to labels that were not taken"] == 1
    written = merged(tmp_path / "back", given[::-1])
    (taken,) = read(tmp_path / "back", written.classes).values()
    assert taken.origins == {"detection": "pseudo:b", "masks": "pseudo:b"}
    assert len(taken.labels["masks"]["crops"]) == len(taken.labels["detection"]["boxes"]) == 1
    assert taken.labels["masks"]["mask_scores"].tolist() == [0.25]


def test_masks_whose_boxes_have_no_origin_are_noted(tmp_path: Path) -> None:
    """Nothing says whose boxes they are, so they are left out."""
    names = {"masks": ["cat"]}
    given = [
        make(tmp_path / str(n), [image_record(str(n), {"masks": (masks([1]), "real:a")}, image=n)], names)
        for n in range(2)
    ]
    written = merged(tmp_path / "out", given)
    assert written.origins == {}
    assert notes(written) == {"masks: left out, because their detection labels have no origin": 2}


def test_an_empty_origin_is_none(tmp_path: Path) -> None:
    """Such a list came with a damaged record, and merging it with the whole one ended in an IndexError."""
    names = {"detection": ["cat"], "masks": ["cat"]}
    whole = image_record("1", {"detection": (masks([1]), "real:a"), "masks": (masks([1]), "real:a")})
    emptied = tf.train.Example.FromString(whole)
    emptied.features.feature["image/masks/origin"].bytes_list.Clear()
    given = [make(tmp_path / "a", [emptied.SerializeToString()], names), make(tmp_path / "b", [whole], names)]
    assert notes(merged(tmp_path / "out", given))["masks: belong to labels that were not taken"] == 1


def test_replaced_labels_leave_no_keys(tmp_path: Path) -> None:
    """Real boxes without masks replace a teacher's boxes and masks."""
    pseudo = {"detection": (masks([1, 1]), "pseudo:a"), "masks": (masks([1, 1]), "pseudo:a")}
    names = {"detection": ["cat"], "masks": ["cat"]}
    given = [
        make(tmp_path / "a", [image_record("1", pseudo)], names),
        make(tmp_path / "b", [image_record("1", {"detection": (objects([1]), "real:b")})], {"detection": ["cat"]}),
    ]
    written = merged(tmp_path / "out", given)
    (taken,) = read(tmp_path / "out", written.classes).values()
    assert taken.origins == {"detection": "real:b"}
    assert len(taken.labels["detection"]["boxes"]) == 1
    assert not {"image/object/mask_crop", "image/masks/origin"} & set(features(taken.serialized))
    assert notes(written) == {
        "detection: real label instead of pseudo": 1,
        "masks: belong to labels that were not taken": 1,
    }


def test_two_images_with_one_id_are_both_kept(tmp_path: Path) -> None:
    depth = {"depth": (metres(1.0), "real:a")}
    given = [make(tmp_path / str(n), [image_record("7", depth, image=n)], {}) for n in range(2)]
    written = merged(tmp_path / "out", given)
    records = read(tmp_path / "out", {})
    digest = features(image_record("7", {}, image=1))["image/key/sha256"].bytes_list.value[0].decode()
    assert {name: each.stored for name, each in records.items()} == {"7": picture(0), f"7-{digest[:8]}": picture(1)}
    assert notes(written) == {"image: id belongs to another image": 1}


def test_keys_that_only_others_read_stay_with_their_labels(patterns: list[str], tmp_path: Path) -> None:
    """Model Garden's full masks stay with the boxes; a key that no task reads stays with the image."""
    example = tf.train.Example.FromString(image_record("4", {"detection": (objects([1]), "real:late")}))
    example.features.feature["image/object/mask"].CopyFrom(record.bytes_feature([b"full"]))
    example.features.feature["image/photographer"].CopyFrom(record.bytes_feature([b"me"]))
    late = make(tmp_path / "late", [example.SerializeToString()], {"detection": ["cat", "dog"]})
    first = make(
        tmp_path / "first",
        [image_record("4", {"detection": (objects([2]), "real:first")})],
        {"detection": ["cat", "dog"]},
    )
    merged(tmp_path / "a", [late, patterns[1]])
    kept = features(read(tmp_path / "a", {"detection": ["cat", "dog"]})["4"].serialized)
    assert kept["image/object/mask"].bytes_list.value == [b"full"]
    assert kept["image/photographer"].bytes_list.value == [b"me"]
    merged(tmp_path / "b", [first, late])
    assert "image/object/mask" not in features(read(tmp_path / "b", {"detection": ["cat", "dog"]})["4"].serialized)


def test_what_was_looked_for_is_carried_through_a_second_merge(tmp_path: Path) -> None:
    """The first set only has cat, and says so after the first merge. After a second merge, cat is id 2."""
    each = {"detection": (objects([1]), "real:x")}
    cat, dog, owl = (
        make(tmp_path / n, [image_record(str(i), each)], {"detection": [n]})
        for i, n in enumerate(("cat", "dog", "owl"))
    )
    merged(tmp_path / "out", [cat, dog])
    written = merged(tmp_path / "again", [owl, f"{tmp_path}/out/*.tfrecord"])
    assert written.classes["detection"] == ["owl", "cat", "dog"]
    records = read(tmp_path / "again", written.classes)
    annotated = {
        n: list(features(r.serialized)["image/detection/annotated"].int64_list.value) for n, r in records.items()
    }
    assert annotated == {"2": [1], "0": [2], "1": [3]}


def test_one_set_gets_the_numbers_of_others(tmp_path: Path) -> None:
    """Validation data of a merged set may have only some of its classes."""
    each = {"detection": (objects([1]), "real:x")}
    cat, dog = (make(tmp_path / n, [image_record("1", each)], {"detection": [n]}) for n in ("cat", "dog"))
    room = {"classification": ({"probability": np.ones([1], np.float32)}, "real:x")}
    train = [cat, dog, make(tmp_path / "room", [image_record("2", room)], {"classification": ["room"]})]
    merged(tmp_path / "train", train)
    source = merged_sets([dog], [], [f"{tmp_path}/train/*.tfrecord"])
    written = convert.run(source, convert.Options(str(tmp_path / "out"), workers=1)).manifest
    assert written.classes == {"detection": ["cat", "dog"]} and written.records == 1
    found = read(tmp_path / "out", written.classes)["1"]
    assert found.labels["detection"]["classes"].tolist() == [2]
    assert record.annotated_of(tf.train.Example.FromString(found.serialized), "detection") == (2,)


def test_a_merge_resumes(patterns: list[str], tmp_path: Path) -> None:
    merged(tmp_path / "one", patterns, shards=3)
    merged(tmp_path / "two", patterns, shards=3)
    (tmp_path / "two" / "manifest.json").unlink()
    (tmp_path / "two" / "records-00001-of-00003.tfrecord").unlink()
    merged(tmp_path / "two", patterns, shards=3)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")


def test_the_command_prints_and_stores_the_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    each = {"detection": (objects([1]), "real:x")}
    cat, dog = (
        make(tmp_path / n, [image_record(str(i), each)], {"detection": [n]}) for i, n in enumerate(("cat", "dog"))
    )
    command = ["merge", "--records", cat, "--records", dog, "--out", f"{tmp_path}/out", "--json"]
    assert must_records(command, monkeypatch) == 0
    printed = capsys.readouterr()
    printed_content = json.loads(printed.out)
    assert (printed_content["records"], printed_content["objects"]) == (2, {"detection": {"cat": 1, "dog": 1}})
    assert "1 of 1 ids change: dog 1 -> 2" in printed.err
    stored = json.loads((tmp_path / "out" / "mapping.json").read_text())
    assert [each["classes"] for each in stored["sets"]] == [
        {"detection": {"cat": [1, 1]}},
        {"detection": {"dog": [1, 2]}},
    ]


def test_background_of_a_set_with_few_classes_has_no_meaning_among_more() -> None:
    """A wall is not background: if walls were not annotated, background pixels are ignored."""
    features = tf.train.Example().features.feature
    own = np.array([[0, 1], [255, 0]], np.int32)  # background, cat
    labels = {"classes": own, "confidence": np.ones([2, 2], np.float32)}
    for key, feature in discover()["segmentation"].write(labels, ImageInfo("0", 2, 2)).items():
        features[key].CopyFrom(feature)
    names = ("background", "cat", "wall")
    ids = meaningful_ids("segmentation", {0: 0, 1: 1}, names)
    assert ids == {1: 1}
    class_ids = discover()["segmentation"].class_ids
    assert class_ids is not None and class_ids.recode is not None
    class_ids.recode(features, ids, len(names))
    png = tf.io.decode_png(features["image/segmentation/class/encoded"].bytes_list.value[0]).numpy()[..., 0]
    assert png.tolist() == [[255, 1], [255, 255]]
    assert meaningful_ids("segmentation", {0: 0, 1: 1}, names[:2]) == {0: 0, 1: 1}
    assert meaningful_ids("classification", {0: 0, 1: 1}, names) == {0: 0, 1: 1}
