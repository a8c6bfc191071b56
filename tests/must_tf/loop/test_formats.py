"""Every conversion can be named in a plan, with the options of its command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from must_tf.common.errors import UserError
from must_tf.loop import formats
from tests.support.tiny import image_bytes


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
