"""Datasets of Hugging Face on disk, written with pyarrow as their library writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from must_tf.common.errors import UserError
from tests.support.converting import converted, dump, must_records
from tests.support.datasets.archives import encoded  # 30 x 20 pixels
from tests.support.datasets.drawn import seen, written
from tfrecords_tools.sources.published.hugging_face import HuggingFace

NAMES = {"names": ["cat", "dog"], "_type": "ClassLabel"}
IMAGE = {"_type": "Image"}
BOX = {"feature": {"dtype": "float32", "_type": "Value"}, "length": 4, "_type": "Sequence"}
OLD = {"feature": {"bbox": BOX, "category": NAMES}, "_type": "Sequence"}  # a dictionary of lists
NEW = {"feature": {"bbox": BOX, "category": NAMES}, "_type": "List"}  # a list of dictionaries
STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def image(seed: int, path: str | None = None) -> dict[str, Any]:
    """An image as a cell."""
    return {"bytes": encoded(seed), "path": path}


def table(features: dict[str, Any], **columns: Any) -> pa.Table:
    """A table with the features in its schema."""
    arrays = {key: pa.array(value, STRUCT if features[key] == IMAGE else None) for key, value in columns.items()}
    return pa.table(arrays).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def write(folder: Path, *tables: pa.Table) -> str:
    """Writes parquet files; returns their pattern."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(tables):
        parquet.write_table(each, folder / f"train-{number:05}.parquet")
    return f"{folder}/*.parquet"


def classified(result: Any) -> dict[str, list[float] | None]:
    """Returns {source_id: probabilities}."""
    labels = {key: record.labels.get("classification") for key, record in result.records.items()}
    return {key: None if each is None else each["probability"].tolist() for key, each in labels.items()}


def test_a_class_label_is_classification(tmp_path: Path) -> None:
    features = {"image": IMAGE, "label": NAMES, "caption": {"dtype": "string", "_type": "Value"}}
    first = table(features, image=[image(0, "a/x.jpg"), image(1)], label=[1, 0], caption=["one", "two"])
    second = table(
        features, image=[image(2, "a/x.jpg"), {"bytes": None, "path": "gone.jpg"}], label=[-1, 0], caption=["", ""]
    )
    result = converted(HuggingFace(write(tmp_path / "set", first, second)), tmp_path / "out")
    # The third image has the path of the first, and no label.
    assert classified(result) == {"a/x": [0, 1], "train-00000-1": [1, 0], "train-00001-0": None}
    assert result.records["a/x"].stored == encoded(0)
    assert result.outcome.manifest.classes == {"classification": ["cat", "dog"]}
    assert result.outcome.manifest.origins == {"classification": {"real:set": 2}}
    assert result.counts() == {"image: not in the file": 1}
    assert result.notes() == {"column: 'caption' not used": 1, "classification: no label for this image": 1}


def test_files_that_number_their_classes_differently_are_refused(tmp_path: Path) -> None:
    other = NAMES | {"names": ["dog", "cat"]}
    tables = [
        table({"image": IMAGE, "label": each}, image=[image(seed)], label=[0])
        for seed, each in enumerate((NAMES, other))
    ]
    with pytest.raises(UserError, match=r"00001.parquet: class 'dog' where the first file has 'cat'"):
        HuggingFace(write(tmp_path / "set", *tables)).find()


def test_classes_without_names_are_numbers_and_labels_are_never_text(tmp_path: Path) -> None:
    """As in `datasets`. A class that shares its name, or has none, is refused."""
    for number, (feature, label) in enumerate(
        [
            ({"num_classes": 2, "_type": "ClassLabel"}, [1]),
            (NAMES, ["cat"]),
            (NAMES | {"names": ["cat", "cat"]}, [1]),
            (NAMES | {"names": ["cat", None]}, [1]),
        ]
    ):
        source = HuggingFace(
            write(tmp_path / str(number), table({"image": IMAGE, "label": feature}, image=[image(0)], label=label))
        )
        if number > 1:
            with pytest.raises(UserError, match="two classes of the dataset are called 'cat'|class 1 .* has no name"):
                converted(source, tmp_path / f"{number}-out")
            continue
        result = converted(source, tmp_path / f"{number}-out")
        assert result.outcome.manifest.classes["classification"] == ([*"01"] if number == 0 else ["cat", "dog"])
        assert result.counts() == ({"classification: label is not a number": 1} if number else {})


def test_a_saved_dataset_has_its_features_beside_it(tmp_path: Path) -> None:
    features = {"image": IMAGE, "label": NAMES}
    data = table(features, image=[image(0), image(1)], label=[1, 0]).replace_schema_metadata(None)
    (tmp_path / "train").mkdir()
    with ipc.new_stream(str(tmp_path / "train" / "data-00000-of-00001.arrow"), data.schema) as writer:
        writer.write_table(data)
    pattern = f"{tmp_path}/train/*.arrow"
    with pytest.raises(UserError, match="has no features of Hugging Face's datasets"):
        HuggingFace(pattern).find()
    dump(tmp_path / "train" / "dataset_info.json", {"features": features})
    result = converted(HuggingFace(pattern), tmp_path / "out")
    assert list(classified(result).values()) == [[0, 1], [1, 0]]


BOXES = {
    "sizes": [6.0, 4.0, 15.0, 10.0],
    "corners": [6.0, 4.0, 21.0, 14.0],
    "relative-sizes": [0.2, 0.2, 0.5, 0.5],
    "relative-corners": [0.2, 0.2, 0.7, 0.7],
}


@pytest.mark.parametrize("boxes", BOXES)
@pytest.mark.parametrize("form", ["lists", "dictionaries"])
def test_objects_are_detection(form: str, boxes: str, tmp_path: Path) -> None:
    box = BOXES[boxes]
    if form == "lists":
        cells: Any = [{"bbox": [box, box, box], "category": [1, 0, -1]}, {"bbox": [], "category": []}]
    else:
        cells = [[{"bbox": box, "category": number} for number in (1, 0, 2)], []]
    features = {"image": IMAGE, "objects": OLD if form == "lists" else NEW}
    data = write(tmp_path / "set", table(features, image=[image(0), image(1)], objects=cells))
    result = converted(HuggingFace(data, boxes=boxes), tmp_path / "out")
    found = seen(result)
    assert [name for name, _ in found["train-00000-0"]] == ["dog", "cat"] and found["train-00000-1"] == []
    np.testing.assert_allclose([corners for _, corners in found["train-00000-0"]], [[6, 4, 21, 14]] * 2, atol=1e-3)
    assert (result.counts(), result.notes()) == ({"object: it has no class": 1}, {})


FOUND: dict[str, tuple[list[float], dict[str, int]]] = {
    "sizes": (BOXES["sizes"], {}),
    "corners": (BOXES["corners"], {"object: boxes read as corners": 1}),  # of the area 15 * 10
    "relative-sizes": ([0.2, 0.2, 0.5, 0.1], {"object: boxes read as relative-sizes": 1}),  # 0.1 is above 0.2
    "relative-corners": ([0.4, 0.4, 0.7, 0.7], {"object: boxes read as relative-corners": 1}),  # 0.4 + 0.7 > 1
}


@pytest.mark.parametrize("form", FOUND)
def test_the_form_of_boxes_is_found_where_only_one_fits(form: str, tmp_path: Path) -> None:
    """Nothing in the files says it. Shares read as pixels would be boxes below a pixel."""
    box, notes = FOUND[form]
    inside = {"bbox": BOX, "category": NAMES, "area": {"dtype": "float32", "_type": "Value"}}
    features = {"image": IMAGE, "objects": {"feature": inside, "_type": "Sequence"}}
    cell = {"bbox": [box], "category": [0], "area": [150.0]}
    data = write(tmp_path / "set", table(features, image=[image(0)], objects=[cell]))
    result, given = (
        converted(HuggingFace(data), tmp_path / "a"),
        converted(HuggingFace(data, boxes=form), tmp_path / "b"),
    )
    assert seen(result) == seen(given) and result.notes() == notes


def test_images_and_boxes_that_cannot_tell_do_not_change_the_form(tmp_path: Path) -> None:
    """One of them is enough to make shares look like pixels."""
    box = FOUND["relative-sizes"][0]
    cells = [{"bbox": [box, [-1.0] * 4, [-1e-4, *box[1:]]], "category": [0, 0, 0]}] + [{"bbox": [box], "category": [0]}]
    images = [image(0), {"bytes": b"damaged", "path": "b.jpg"}]
    data = write(tmp_path / "set", table({"image": IMAGE, "objects": OLD}, image=images, objects=cells))
    assert "object: boxes read as relative-sizes" in HuggingFace(data).find().account.notes.content


def test_shares_that_may_be_either_are_refused(tmp_path: Path) -> None:
    cells = [{"bbox": [BOXES["relative-sizes"]], "category": [0]}]
    data = write(tmp_path / "set", table({"image": IMAGE, "objects": OLD}, image=[image(0)], objects=cells))
    with pytest.raises(UserError, match=r"in 0..1, such as .* --boxes relative-sizes for .* --boxes relative-corners"):
        HuggingFace(data).find()


def test_crowds_and_areas_are_used_and_other_keys_counted(tmp_path: Path) -> None:
    box = BOXES["sizes"]
    cell = {"bbox": [box, box], "category": [1, 0], "iscrowd": [True, False], "area": [70.0, None], "depth": [1, 2]}
    number = {"dtype": "int64", "_type": "Value"}
    inside: dict[str, Any] = {"bbox": BOX, "category": NAMES, "iscrowd": number, "area": number, "depth": number}
    features = {"image": IMAGE, "objects": {"feature": inside, "_type": "Sequence"}}
    data = write(tmp_path / "set", table(features, image=[image(0)], objects=[cell]))
    result = converted(HuggingFace(data), tmp_path / "out")
    (record,) = result.records.values()
    assert record.labels["detection"]["is_crowd"].tolist() == [True, False]
    assert record.labels["detection"]["area"].tolist() == [70, 150]
    assert (result.counts(), result.notes()) == ({}, {"column: 'objects.depth' not used": 1})


def test_objects_that_do_not_fit_together_are_counted(tmp_path: Path) -> None:
    box = BOXES["sizes"]
    cells = [{"bbox": [box, None], "category": [1, 1]}, {"bbox": [box], "category": [1, 0]}]
    features = {"image": IMAGE, "objects": OLD}
    data = write(tmp_path / "set", table(features, image=[image(0), image(1)], objects=cells))
    result = converted(HuggingFace(data), tmp_path / "out")
    assert {key: len(objects) for key, objects in seen(result).items()} == {"train-00000-0": 1}
    assert result.counts() == {
        "object: box is not four numbers": 1,
        "detection: boxes and classes are not lists of the same length": 1,
    }


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not match any file"):
        HuggingFace(f"{tmp_path}/*.parquet").find()
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"bad.parquet cannot be read"):
        HuggingFace(f"{tmp_path}/bad.parquet").find()
    data = write(tmp_path / "a", table({"label": NAMES}, label=[1]))
    with pytest.raises(UserError, match="has no column of images, but label"):
        HuggingFace(data).find()
    first, second = (table({key: IMAGE}, **{key: [image(0)]}) for key in ("image", "photo"))
    with pytest.raises(UserError, match=r"train-00001.parquet has no column 'image', unlike the first file"):
        HuggingFace(write(tmp_path / "c", first, second)).find()
    features = {"image": IMAGE, "coarse": NAMES, "fine": NAMES}
    data = write(tmp_path / "b", table(features, image=[image(0)], coarse=[1], fine=[0]))
    with pytest.raises(UserError, match="has the columns coarse, fine. Give --label COLUMN"):
        HuggingFace(data).find()
    with pytest.raises(UserError, match="--label 'fin' is not such a column .* Did you mean 'fine'"):
        HuggingFace(data, label="fin").find()
    with pytest.raises(UserError, match="--boxes 'sices' does not exist. Did you mean 'sizes'"):
        HuggingFace(data, boxes="sices").find()
    assert list(classified(converted(HuggingFace(data, label="fine"), tmp_path / "out")).values()) == [[1, 0]]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(tmp_path / "set", table({"image": IMAGE, "label": NAMES}, image=[image(0)], label=[1]))
    assert must_records(["convert", "hugging-face", "--data", data, "--out", f"{tmp_path}/out"], monkeypatch) == 0
    (record,) = written(tmp_path / "out").values()
    assert record.origins == {"classification": "real:set"}
