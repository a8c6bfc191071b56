"""Every conversion can be named in a plan, with the options of its command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from must_tf.common.errors import UserError
from must_tf.loop import formats
from tests.support.tiny import image_bytes
from tfrecords_tools.sources import rgbd_maps


def test_every_conversion_is_a_format() -> None:
    from tfrecords_tools.cli import main

    group = main.typer.main.get_command(main.app).commands["convert"]  # type: ignore[attr-defined]
    assert set(formats.formats()) == set(group.commands)
    for name, command in group.commands.items():
        flags = {option.opts[0] for option in command.params}
        given = formats.options(name).values()
        assert {option.flag for option in given} <= flags
        required = {option.opts[0] for option in command.params if option.required} - {"--out"}
        assert {option.flag for option in given if option.is_required} == required


def test_options_become_words() -> None:
    given = {"images": "a b", "annotations": "c.json", "full_masks": True, "shards": 4}
    expected = ["coco", "--images", "a b", "--annotations", "c.json", "--full-masks", "--shards", "4"]
    assert formats.arguments("coco", given) == expected
    assert formats.arguments("coco", given | {"full_masks": False}) == [word for word in expected if "full" not in word]
    lists = {"name": "voc/2012", "split": "train", "data_dir": "d", "map": ["detection=objects", "image=photo"]}
    words = formats.arguments("tfds", lists)
    assert words[-4:] == ["--map", "detection=objects", "--map", "image=photo"]


def test_values_of_the_wrong_kind_are_refused() -> None:
    given = {"images": ["a"], "annotations": None, "full_masks": "yes"}
    wrong = formats.problems("datasets.street", "coco", given)
    assert wrong == [
        "datasets.street.images: must be one value, not ['a'].",
        "datasets.street.annotations: must be one value, not None.",
        "datasets.street.full_masks: must be true or false, not 'yes'.",
    ]


def test_numbers_and_dates_may_stand_for_texts(tmp_path: Path) -> None:
    """YAML reads `depth_scale: 0.001` as a number, and a folder called 2012 or 2024-01-01, too."""
    given = yaml.safe_load("{root: 2012, depth_scale: 0.001, depth_unknown: 65535, focal: 525, ignore: 0, match: 12}")
    assert formats.problems("datasets.rooms", "rgbd", given) == []
    source: Any = formats.source("datasets.rooms", "rgbd", given)
    options = rgbd_maps.MapOptions(depth_scale="0.001", depth_unknown="65535", focal="525", ignore="0")
    assert (source.root, source.match, source.options) == ("2012", "12", options)
    source.options.check()
    assert formats.arguments("rgbd", given)[:5] == ["rgbd", "--root", "2012", "--depth-scale", "0.001"]
    dated: Any = formats.source("datasets.photos", "images", yaml.safe_load("root: 2024-01-01"))
    assert dated.root == "2024-01-01"


def test_values_that_are_not_numbers_are_refused() -> None:
    given = yaml.safe_load("{root: no, limit: 2.5, shards: four, max_drop_rate: 5%, workers: true}")
    assert formats.problems("datasets.kinds", "classes", given) == [
        "datasets.kinds.root: must be a text, not False. Put it in quotes.",
        "datasets.kinds.limit: must be a whole number, not 2.5.",
        "datasets.kinds.shards: must be a whole number, not 'four'.",
        "datasets.kinds.max_drop_rate: must be a number, not '5%'.",
        "datasets.kinds.workers: must be a whole number, not True.",
    ]
    assert formats.problems("datasets.kinds", "classes", {"root": "k", "limit": 2, "max_drop_rate": 1}) == []


def test_the_source_is_that_of_the_command() -> None:
    source = formats.source("here", "scenes", {"domain": "wild", "count": 3, "seed": 1})
    assert (source.domain, source.count, source.seed, source.size) == ("wild", 3, 1, 128)  # type: ignore[attr-defined]


def test_an_error_names_the_dataset() -> None:
    with pytest.raises(UserError, match=r"^plan\.yaml: datasets\.x: .*no-such-folder"):
        formats.state("plan.yaml: datasets.x", "images", {"root": "no-such-folder"})


def test_the_state_of_a_dataset_changes_with_its_files(tmp_path: Path) -> None:
    """Otherwise photos that are added later would be passed over without a word."""
    (tmp_path / "a.png").write_bytes(image_bytes(np.zeros([8, 8, 3], np.uint8)))
    first = formats.state("x", "images", {"root": str(tmp_path)})
    assert formats.state("x", "images", {"root": str(tmp_path)}) == first
    (tmp_path / "b.png").write_bytes(image_bytes(np.ones([8, 8, 3], np.uint8)))
    assert formats.state("x", "images", {"root": str(tmp_path)}) != first
