"""An epoch has each image as often as it should, evenly mixed, in an order that can be continued anywhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import tensorflow as tf

from must_tf.data import record
from must_tf.data.input import Data, Start, records_from
from must_tf.training import preflight
from tests.support import formula_teacher

FEW, MANY, TIMES = 5, 40, 4
EPOCH = FEW * TIMES + MANY


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """5 images that are repeated 4 times, beside 40."""
    few = [formula_teacher.image_record(number) for number in range(FEW)]
    many = [formula_teacher.image_record(number) for number in range(FEW, FEW + MANY)]
    patterns = (
        formula_teacher.write(tmp_path / "few", [few]),
        formula_teacher.write(tmp_path / "many", [many[:10], many[10:]]),
    )
    return Data(input_path=patterns, repeats=(TIMES, 1), is_training=True, shuffle_buffer=8)


def numbers(data: Data, count: int, start: Start | None = None) -> list[int]:
    records = records_from(data, start or Start()).take(count).as_numpy_iterator()
    return [int(record.info_of(tf.train.Example.FromString(one)).source_id) for one in records]


def test_an_epoch_has_each_image_as_often_as_it_should(data: Data) -> None:
    both = numbers(data, 2 * EPOCH)
    for epoch in (both[:EPOCH], both[EPOCH:]):
        assert Counter(epoch) == dict.fromkeys(range(FEW), TIMES) | dict.fromkeys(range(FEW, FEW + MANY), 1)
    assert both[:EPOCH] != both[EPOCH:]


def test_repeated_images_are_spread_over_the_epoch(data: Data) -> None:
    """They come again when all of them have been seen, and there are as many in each half of an epoch."""
    epoch = numbers(data, EPOCH)
    repeated = [number for number in epoch if number < FEW]
    assert all({*repeated[place : place + FEW]} == {*range(FEW)} for place in range(0, FEW * TIMES, FEW))
    assert len({tuple(repeated[place : place + FEW]) for place in range(0, FEW * TIMES, FEW)}) > 1
    in_first_half = sum(number < FEW for number in epoch[: EPOCH // 2])
    assert FEW * TIMES / 4 < in_first_half < FEW * TIMES * 3 / 4


@pytest.mark.parametrize("done", [7, EPOCH - 1, EPOCH, 2 * EPOCH + 13])
def test_it_goes_on_anywhere(data: Data, done: int) -> None:
    whole = numbers(data, 3 * EPOCH)
    assert numbers(data, EPOCH - 13, Start(done, EPOCH)) == whole[done : done + EPOCH - 13]


def test_an_epoch_is_counted_with_its_repeats(data: Data) -> None:
    manifests = preflight._manifests(data, "task.train_data")
    assert preflight._images_per_epoch(data, manifests) == EPOCH
    data.repeats = ()
    assert preflight._images_per_epoch(data, manifests) == FEW + MANY
