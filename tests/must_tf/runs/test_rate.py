"""The rate that a run logged last, and files that do not say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from must_tf.common.errors import UserError
from must_tf.runs import rate


def test_the_last_line_counts(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"images_per_second": 3.0}\n{"images_per_second": 50}\n')
    assert rate.last(str(tmp_path), "") == 50.0


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"\n",
        b'{"images_per_second": 3.0}\n{"images_per_sec',
        b"\xff\xfe\x00",
        b"[1]",
        b"{}",
        b'{"images_per_second": null}',
        b'{"images_per_second": true}',
        b'{"images_per_second": 0}',
        b'{"images_per_second": -2.5}',
        b'{"images_per_second": NaN}',
        b'{"images_per_second": Infinity}',
    ],
)
def test_a_file_that_does_not_say_it_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "metrics.jsonl").write_bytes(content)
    with pytest.raises(UserError) as caught:
        rate.last(str(tmp_path), "Measure again.")
    assert str(tmp_path / "metrics.jsonl") in str(caught.value) and str(caught.value).endswith("Measure again.")
