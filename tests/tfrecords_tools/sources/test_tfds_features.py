"""Features and values of TFDS that are not what their names say, and boxes in all forms that TFDS declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets import features

from must_tf.common.errors import UserError
from must_tf.spec import ImageInfo
from must_tf.tasks.depth import labels as depth
from tests.support.converting import Converted, converted, noise
from tests.support.datasets.mg_records import names
from tfrecords_tools.sources import tfds as tfds_source
from tfrecords_tools.sources.objects import ObjectNotes
from tfrecords_tools.sources.tfds import Tfds
from tfrecords_tools.sources.tfds_features import UNDECLARED
from tfrecords_tools.writing.counts import Account

HEIGHT, WIDTH = 30, 40
LABEL = features.ClassLabel(names=["a", "b"])
INFO = ImageInfo("a", 1, 4)
SOURCE = Tfds("a", "train", "", (), depth_scale=0.001)


class OneImage(tfds.core.GeneratorBasedBuilder):
    """One image and one feature, which the test sets before it prepares the dataset."""

    VERSION = tfds.core.Version("1.0.0")
    url_infos: dict[str, Any] = {}  # nothing is downloaded
    feature: Any = None
    value: Any = None

    def _info(self) -> tfds.core.DatasetInfo:
        image = features.Image(encoding_format="png")
        return self.dataset_info_from_configs(features=features.FeaturesDict({"image": image, "it": self.feature}))

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Any:
        yield 0, {"image": noise(HEIGHT, WIDTH), "it": self.value}


def prepared(folder: Path, monkeypatch: pytest.MonkeyPatch, feature: Any, value: Any) -> str:
    monkeypatch.setattr(OneImage, "feature", feature)
    monkeypatch.setattr(OneImage, "value", value)
    OneImage(data_dir=str(folder / "data")).download_and_prepare()
    return str(folder / "data")


def made(folder: Path, monkeypatch: pytest.MonkeyPatch, task: str, feature: Any, value: Any) -> Converted:
    """The conversion of one image whose feature is mapped to a task."""
    data = prepared(folder, monkeypatch, feature, value)
    classes = (("segmentation", names(folder, "a", "b", "c")),) if task == "segmentation" else ()
    return converted(Tfds("one_image", "train", data, ((task, "it"),), classes), folder / "out")


def only(result: Converted) -> dict[str, Any]:
    """The labels of the one record."""
    return next(iter(result.records.values())).labels


def boxed(form: Any, **more: Any) -> Any:
    return features.Sequence({"bbox": features.BBoxFeature(bbox_format=form), "label": LABEL} | more)


def thing(*box: float, **more: Any) -> dict[str, Any]:
    return {"bbox": np.array(box, np.float32), "label": 1} | more


@pytest.mark.parametrize(
    ("form", "box"),
    [
        ("REL_YXYX", (0.1, 0.2, 0.5, 0.9)),
        ("REL_XYXY", (0.2, 0.1, 0.9, 0.5)),
        ("YXYX", (3, 8, 15, 36)),
        ("XYXY", (8, 3, 36, 15)),
        ("XYWH", (8, 3, 28, 12)),
        (None, (0.1, 0.2, 0.5, 0.9)),  # as older versions stored it
    ],
)
def test_boxes_have_the_form_that_the_feature_declares(
    form: str | None, box: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = made(tmp_path, monkeypatch, "detection", boxed(form), [thing(*box)])
    np.testing.assert_allclose(only(result)["detection"]["boxes"], [[0.1, 0.2, 0.5, 0.9]], atol=1e-6)
    assert result.notes() == ({} if form else {UNDECLARED: 1})


def test_flags_of_objects_are_crowds_unless_they_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feature = boxed("REL_YXYX", is_group_of=np.int8, is_occluded=np.int8)
    flags = [1, 0, -1]  # Open Images has -1 where nobody looked
    things = [thing(0.1, 0.2, 0.5, 0.5 + n / 10, is_group_of=flag, is_occluded=1) for n, flag in enumerate(flags)]
    result = made(tmp_path, monkeypatch, "detection", feature, things)
    assert only(result)["detection"]["is_crowd"].tolist() == [True, False, False]
    assert result.notes() == {"file: feature it/is_occluded, not used": 1}


WHOLE = np.ones([HEIGHT, WIDTH, 1], np.uint8)


@pytest.mark.parametrize(
    ("task", "feature", "value"),
    [
        ("classification", features.Sequence(LABEL), [0, 1]),
        ("classification", features.Text(), "b"),
        ("classification", features.Tensor(shape=(), dtype=np.float32), 0.7),
        (
            "detection",
            features.FeaturesDict({"bbox": features.BBoxFeature(), "label": LABEL}),
            thing(0.1, 0.1, 0.2, 0.2),
        ),
        ("segmentation", features.Tensor(shape=(HEIGHT, WIDTH), dtype=np.float32), np.full([HEIGHT, WIDTH], 1.7)),
        ("segmentation", features.Image(shape=(None, None, 1), encoding_format="jpeg"), WHOLE),
        ("segmentation", LABEL, 1),
        ("depth", features.Text(), "deep"),
        ("normals", features.Tensor(shape=(HEIGHT, WIDTH), dtype=np.float32), np.ones([HEIGHT, WIDTH])),
    ],
)
def test_a_feature_of_another_kind_is_refused_before_the_first_image(
    task: str, feature: Any, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype == np.float64 else value
    data = prepared(tmp_path, monkeypatch, feature, value)
    with pytest.raises(UserError, match=rf"--map {task}=it: "):
        Tfds(
            "one_image", "train", data, ((task, "it"),), ((task, names(tmp_path, "a", "b")),) if task[0] in "cs" else ()
        ).find()


def test_images_of_floats_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TFDS stores each float as the four bytes of a coloured pixel, which would be the photo."""
    feature = features.Image(shape=(None, None, 1), dtype=np.float32)
    data = prepared(tmp_path, monkeypatch, feature, np.ones([HEIGHT, WIDTH, 1], np.float32))
    with pytest.raises(UserError, match=r"--map image=it: an Image of 8 or 16 bits is needed, .* of float32"):
        Tfds("one_image", "train", data, (("image", "it"), ("depth", "image"))).find()


def test_normals_as_colours_are_read_as_colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colours = np.tile(np.array([128, 128, 0], np.uint8), [HEIGHT, WIDTH, 1])
    result = made(tmp_path, monkeypatch, "normals", features.Image(shape=(None, None, 3)), colours)
    np.testing.assert_allclose(only(result)["normals"]["normals"][5, 5], [0, 0, -1], atol=0.01)
    assert result.notes() == {}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_depth_without_a_scale_is_questioned(
    dtype: type[np.generic], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metres = np.full([HEIGHT, WIDTH], 25 if dtype == np.uint8 else 2500, dtype)
    result = made(tmp_path, monkeypatch, "depth", features.Tensor(shape=metres.shape, dtype=dtype), metres)
    note = "8 bits have no agreed unit, read as metres" if dtype == np.uint8 else "a median beyond reason"
    assert result.notes() == {f"depth: {note}; is --depth-scale right?": 1}
    with pytest.raises(UserError, match="--depth-scale 0: expected metres per unit"):
        Tfds("one_image", "train", f"{tmp_path}/data", (("depth", "it"),), (), 0.0).find()


def test_maps_of_ids_are_read_from_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TFDS turns the colours of a palette into grey, which are no ids."""
    from PIL import Image

    picture = Image.fromarray(np.tile(np.arange(WIDTH) % 3, [HEIGHT, 1]).astype(np.uint8), "P")
    picture.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200])
    picture.save(tmp_path / "map.png")
    feature = features.Image(shape=(None, None, 1))
    result = made(tmp_path, monkeypatch, "segmentation", feature, str(tmp_path / "map.png"))
    assert only(result)["segmentation"]["classes"][0, :4].tolist() == [0, 1, 2, 0]


def test_infinite_depth_is_unknown_and_other_values_stay_exact() -> None:
    found = SOURCE._read("depth", np.array([[np.inf, -np.inf, np.nan, 1500.0]]), 0, INFO, ObjectNotes(Account(), "a"))
    assert found is not None
    np.testing.assert_allclose(found["metres"], [[0.0, 0.0, 0.0, 1.5]], rtol=1e-6)
    (scale,) = depth.write(found, INFO)[depth.SCALE].float_list.value
    assert scale == pytest.approx(0.001)  # a millimetre; the largest float would make it 5e33


@pytest.mark.parametrize("label", [-1, 2])
def test_an_object_of_an_unknown_class_is_an_error(label: int) -> None:
    objects = {"bbox": np.array([[0.0, 0.0, 1.0, 0.5]] * 2, np.float32), "label": np.array([1, label])}
    with pytest.raises(UserError, match=rf"x\.tfrecord, record 3, object 1: label {label} is not one of the 2 classes"):
        tfds_source._objects(objects, "REL_YXYX", 2, INFO, ObjectNotes(Account(), "x.tfrecord, record 3"))
