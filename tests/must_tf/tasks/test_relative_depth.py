"""Relative depth on its way from a record to a teacher's label: never taken for metres, nor metres for it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from must_tf.cli import train
from must_tf.common.errors import UserError
from must_tf.config import values as config_values
from must_tf.data import manifest, record
from must_tf.data.opening import BadRecord
from must_tf.experiments import experiment_config
from must_tf.spec import Given, ImageInfo
from must_tf.tasks.depth import Config, labels, metric, model, pseudo, view
from must_tf.training import preflight
from tests.support import tiny
from tests.support.contract import ENLARGED, FITTED, SPECS, example, targets
from tests.support.session.graphs import eagerly
from tfrecords_tools.check import record_rules
from tfrecords_tools.label.arguments import parse_request
from tfrecords_tools.label.run import label_records
from tfrecords_tools.reading import label_summary

H, W = 48, 80
RAMP = np.linspace(0.0, 300.0, H * W, dtype=np.float32).reshape(H, W)  # 0 is unknown
RELATIVE: dict[str, np.ndarray] = {"metres": np.zeros_like(RAMP), "inverse_depth": RAMP}
METRIC: dict[str, np.ndarray] = {"metres": RAMP / 30, "inverse_depth": np.zeros_like(RAMP)}
SSI = Config(enabled=True, filters=8, stride=4, loss="ssi")
GIVEN = Given(tf.constant([[2.0, 2.0]]), 2, None, None, {}, {})  # to the head of an image of 2 x 2 pixels


def _record(written: dict[str, Any], source_id: str = "a") -> bytes:
    image = np.zeros([H, W, 3], np.uint8)
    return example(image, {"depth": record.Labelled(written, "real:some")}, source_id)


def _read(serialized: bytes) -> dict[str, np.ndarray]:
    return record.read_labels(serialized, SPECS, {"depth": Config()})["depth"].labels


def test_relative_labels_are_written_and_read_as_such() -> None:
    """Read by Pillow too. Precision: half a unit of 300 / 65535."""
    serialized = _record(RELATIVE)
    feature = tf.train.Example.FromString(serialized).features.feature
    assert feature["image/depth/kind"].bytes_list.value == [b"relative"]
    units = np.array(Image.open(io.BytesIO(feature["image/depth/encoded"].bytes_list.value[0])))
    (scale,) = feature["image/depth/scale"].float_list.value
    assert units.max() == 65535 and scale == pytest.approx(300 / 65535)
    for got in (units * scale, _read(serialized)["inverse_depth"]):
        np.testing.assert_allclose(got, RAMP, rtol=0, atol=300 / 65535 / 2 + 1e-4)
    assert not _read(serialized)["metres"].any()
    assert not _read(_record(METRIC))["inverse_depth"].any()


def known_share(task: str, labels: dict[str, Any]) -> float | None:
    """The share of pixels that the record tools call known."""
    return label_summary.of(SPECS[task], labels, ImageInfo("a", H, W), SPECS[task].Config()).known


def test_what_is_counted_and_checked_is_the_kind_that_is_there() -> None:
    for one in (RELATIVE, METRIC):
        assert known_share("depth", one) == 1 - 1 / RAMP.size  # the ramp begins with 0
        spoiled = {key: np.where(value > 250 / 30, -value, value) for key, value in one.items()}
        labelled = {"depth": record.Labelled(spoiled, "real:some")}
        faults = list(record_rules.of_labels(labelled, ImageInfo("a", H, W), SPECS, {"depth": Config()}))
        assert [what for what, _ in faults] == ["depth: values below 0"]


def test_nothing_known_and_nothing_but_ignore_are_told_by_the_ids() -> None:
    nothing = {"classes": np.full([H, W], 255), "confidence": np.ones([H, W], np.float32)}
    assert known_share("segmentation", nothing) == 0
    assert known_share("depth", dict.fromkeys(RELATIVE, 0 * RAMP)) == 0


@pytest.mark.parametrize("written", [RELATIVE, METRIC], ids=["relative", "metric"])
def test_large_maps_are_written_in_parts(written: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest value, which sets the unit of relative depth, is in the last of them."""
    whole = _record(written)
    monkeypatch.setattr(labels, "AT_ONCE", 5 * W)
    assert _record(written) == whole


def test_a_label_may_lack_the_other_kind() -> None:
    for written in (RELATIVE, METRIC):
        alone = {key: value for key, value in written.items() if value.any()}
        assert _record(alone) == _record(written)


def test_known_never_becomes_unknown() -> None:
    tiny_part = {"inverse_depth": np.where(RAMP > 200, RAMP, np.where(RAMP > 0, 1e-6, 0))}
    np.testing.assert_array_equal(_read(_record(tiny_part))["inverse_depth"] > 0, RAMP > 0)


def test_both_kinds_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match="not both"):
        _record({"metres": RAMP, "inverse_depth": RAMP})


def test_a_kind_that_is_not_known_ends_the_read() -> None:
    made = tf.train.Example.FromString(_record(RELATIVE))
    made.features.feature["image/depth/kind"].bytes_list.value[0] = b"disparity"
    with pytest.raises(BadRecord, match="image/depth/kind: .*b'disparity'"):
        _read(made.SerializeToString())


@pytest.mark.parametrize("window", [FITTED, ENLARGED])
def test_targets_of_both_kinds(window: Any) -> None:
    """Relative labels as they are at every zoom, metres (written to the millimetre) as 1 / m; a head of metres sees
    nothing of relative labels."""
    ramp = np.linspace(1.0, 9.0, 96 * 160, dtype=np.float32).reshape(96, 160)
    relative, metres = {"inverse_depth": ramp}, {"metres": ramp}
    expected = window.pixels(ramp, 0.0, 4)
    got = targets("depth", relative, window.warp(), SSI)["inverse_depth"]
    np.testing.assert_allclose(got, expected, atol=1e-3)
    inverse = np.divide(1.0, expected, out=np.zeros_like(expected), where=expected > 0)
    np.testing.assert_allclose(targets("depth", metres, window.warp(), SSI)["inverse_depth"], inverse, atol=6e-4)
    assert not targets("depth", relative, window.warp(), Config(stride=4))["metres"].any()


def test_what_an_ssi_head_labels_is_relative() -> None:
    """Whatever the shift of the output: all positive, same differences, and relative in the record."""
    raw = {"map": tf.constant(np.array([[[[-3.0], [5.0]], [[-1.0], [0.0]]]], np.float32))}
    predicted = model.decode(raw, GIVEN, SSI)
    assert set(predicted) == {"inverse_depth"}
    kept = pseudo.keep({key: value[0].numpy() for key, value in predicted.items()}, ImageInfo("a", 2, 2), SSI)
    assert kept["inverse_depth"].min() > 0 and not kept["metres"].any()
    differences = kept["inverse_depth"] - kept["inverse_depth"][0, 0]
    np.testing.assert_allclose(differences, [[0.0, 8.0], [2.0, 3.0]], rtol=1e-6)
    kind = labels.write(kept, ImageInfo("a", 2, 2))["image/depth/kind"].bytes_list.value
    assert kind == [b"relative"]


def test_a_flat_prediction_is_known_everywhere() -> None:
    kept = pseudo.keep({"inverse_depth": np.full([2, 2], -7.0, np.float32)}, ImageInfo("a", 2, 2), SSI)
    np.testing.assert_array_equal(kept["inverse_depth"], np.ones([2, 2]))


def test_relative_predictions_are_measured_up_to_scale_and_shift() -> None:
    """q = 5 / metres + 2 is perfect; a random one is not; relative labels have no metres to measure against."""
    metres = np.random.default_rng(0).uniform(1, 9, [8, 9]).astype(np.float32)
    found = []
    for inverse in (5 / metres + 2, metres):
        measured = metric.Metric(SSI)
        truth = {"metres": metres, "inverse_depth": np.zeros_like(metres)}
        kept = {"metres": np.zeros_like(metres), "inverse_depth": inverse}
        measured.add(truth, kept, ImageInfo("a", 8, 9))
        measured.add(kept, kept, ImageInfo("b", 8, 9))
        found.append(measured.result()["abs_rel"])
    assert found[0] < 1e-4 and found[1] > 0.2


def test_the_nearest_is_the_brightest() -> None:
    photo = np.zeros([64, 96, 3], np.uint8)
    near_right = np.tile(np.linspace(1, 50, 96, dtype=np.float32), (64, 1))
    row = view.draw(photo, {"inverse_depth": near_right, "metres": np.zeros_like(near_right)}, Config())[0].sum(-1)
    far_right = view.draw(photo, {"metres": near_right}, Config())[0].sum(-1)
    assert row[-1] > row[48] > row[0] and far_right[-1] < far_right[0]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two images with metric and one with relative depth."""
    folder = tmp_path_factory.mktemp("mixed")
    records = [_record(METRIC, "a"), _record(METRIC, "b"), _record(RELATIVE, "c")]
    return tiny.write_set(folder / "records", [records], ["depth"])


def _arguments(records: str, folder: Path, settings: dict[str, Any], mode: str) -> list[str]:
    override = tiny.data(records)
    override["task"]["tasks"] = {"depth": settings}
    yaml = tiny.write_config(folder / "tiny.yaml")
    return tiny.arguments(yaml, folder / "run", "must_teacher_depth", override, mode)


def test_the_manifest_counts_relative_labels(mixed: str) -> None:
    found = manifest.read(str(Path(mixed).parent))
    assert found.limits == {"depth": {"relative": 1}}


def test_metres_are_not_learned_from_relative_labels(mixed: str, tmp_path: Path) -> None:
    """The run ends before its first step, leaves nothing behind, and names both ways out."""
    with pytest.raises(UserError, match="1 of 3 images .* relative depth.*loss=ssi.*relative_labels=ignore"):
        train.main(_arguments(mixed, tmp_path, {}, "train"))
    assert not (tmp_path / "run").exists()


def test_ignoring_all_there_is_is_refused_too(tmp_path: Path) -> None:
    records = tiny.write_set(tmp_path / "records", [[_record(RELATIVE)]], ["depth"])
    with pytest.raises(UserError, match="1 of 1 images with depth have relative depth.*loss=ssi[^,]*$"):
        train.main(_arguments(records, tmp_path, {"relative_labels": "ignore"}, "train"))


@pytest.mark.parametrize("settings", [{"relative_labels": "ignore"}, {"loss": "ssi"}])
def test_both_ways_out_are_open(mixed: str, settings: dict[str, Any]) -> None:
    params = experiment_config.load("must_teacher_depth")
    config_values.apply(params, tiny.data(mixed) | {"trainer": {"validation_steps": -1}}, "test")
    config_values.apply(params, {"task": {"tasks": {"depth": settings}}}, "test")
    assert preflight.settle(params, "train") == preflight.Images(3, 0)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_is_below_one(share: float) -> None:
    params = experiment_config.load("must_teacher_depth")
    with pytest.raises(UserError, match="ignore_hardest.*at least 0 and below 1"):
        config_values.apply(params, {"task": {"tasks": {"depth": {"ignore_hardest": share}}}}, "test")


def test_a_teacher_of_relative_depth_learns_is_measured_and_labels(mixed: str, tmp_path: Path) -> None:
    """Two steps on both kinds; its figures are of the metric images; what it labels is relative."""
    with eagerly():
        train.main(_arguments(mixed, tmp_path, {"loss": "ssi"}, "train_and_eval"))
    figures = json.loads((tmp_path / "run" / "evaluation.json").read_text())["figures"]
    assert 0 <= figures["depth/delta1"] <= 1 and np.isfinite(figures["depth/abs_rel"])
    unlabelled = example(np.zeros([H, W, 3], np.uint8), {})
    records = tiny.write_set(tmp_path / "unlabelled", [[unlabelled]], [])
    request = parse_request(records, [f"depth={tmp_path / 'run'}"])
    made = label_records(request, str(tmp_path / "labelled"), ["test"]).manifest
    assert made is not None and made.limits == {"depth": {"relative": 1}}
    (serialized,) = tf.data.TFRecordDataset(tf.io.gfile.glob(f"{tmp_path}/labelled/*.tfrecord")).as_numpy_iterator()
    read = _read(serialized)
    assert read["inverse_depth"].min() > 0 and not read["metres"].any()
