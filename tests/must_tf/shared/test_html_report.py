"""The report is one page that needs no other file; its curves are those that a run logged."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from must_tf.common.errors import UserError
from must_tf.shared import html_report
from must_tf.shared.html_report import Curve, Picture, Report, ReportCell, ReportTable


class Page(HTMLParser):
    """Collects the attributes and texts of all tags, and checks that tags close in order."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def of(self, tag: str) -> list[str]:
        """Returns the texts directly inside tags of this name."""
        return [text for where, text in self.texts if where == tag]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def pictures(page: Page) -> list[tuple[str, np.ndarray, int]]:
    """Returns (media type, pixels, size in bytes) of every embedded picture."""
    found = []
    for tag, attributes in page.tags:
        if tag == "img":
            head, data = str(attributes["src"]).split(",")
            content = base64.b64decode(data, validate=True)
            image = Image.open(io.BytesIO(content))
            assert head == f"data:image/{str(image.format).lower()};base64"
            found.append((head, np.asarray(image.convert("RGB")), len(content)))
    return found


def full() -> Report:
    """Returns a report with every part, characters that must be escaped, and NaN."""
    return Report(
        "A <b>run</b> & {braces}",
        ["<script>alert(1)</script>", "50 % done"],
        [
            ReportTable(
                "Fig<ures>", ["task", "AP"], [["masks", 0.5], ["<i>", ReportCell(math.nan, best=True)], ["c", None]]
            )
        ],
        [Curve("loss $x^2$ <a>", [("train", [1, 2, 3], [1.0, math.nan, 0.5]), ("validation", [2], [0.75])])],
        [Picture('two "<tiles>"', noise(20, 30)), Picture("another", noise(10, 10))],
    )


def test_text_is_escaped() -> None:
    source = html_report.render(full())
    page = Page(source)
    assert page.of("title") == page.of("h1") == ["A <b>run</b> & {braces}"]
    assert page.of("li") == ["<script>alert(1)</script>", "50 % done"]
    assert "<script" not in source and not {tag for tag, _ in page.tags} & {"script", "i", "a", "tiles"}
    assert 'two "<tiles>"' in page.of("figcaption") and "loss $x^2$ <a>" in page.of("figcaption")
    assert [attributes["alt"] for tag, attributes in page.tags if tag == "img"] == ['two "<tiles>"', "another"]


def test_every_picture_is_in_the_page_pixel_by_pixel() -> None:
    found = pictures(Page(html_report.render(full())))
    assert [head for head, _, _ in found] == ["data:image/png;base64"] * 2
    np.testing.assert_array_equal(found[0][1], noise(20, 30))
    np.testing.assert_array_equal(found[1][1], noise(10, 10))


def test_large_pictures_are_embedded_small() -> None:
    """A photo-like picture of 0.6 megapixels: JPEG keeps it recognisable at a fraction of the PNG's size."""
    smooth = np.asarray(Image.fromarray(noise(12, 20)).resize((1000, 600), Image.Resampling.BICUBIC), np.int16)
    photo = np.clip(smooth + np.random.default_rng(1).normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
    png = io.BytesIO()
    Image.fromarray(photo).save(png, "PNG")
    page = Report("x", pictures=[Picture("large", photo), Picture("small", photo[:500, ::-1])])
    (kind, pixels, size), (small_kind, small, _) = pictures(Page(html_report.render(page)))
    assert kind == "data:image/jpeg;base64" and size < len(png.getvalue()) / 3
    assert pixels.shape == photo.shape and np.abs(pixels.astype(int) - photo).mean() < 6
    assert small_kind == "data:image/png;base64"  # 0.5 megapixels, and no more
    np.testing.assert_array_equal(small, photo[:500, ::-1])


def test_page_needs_nothing_from_elsewhere() -> None:
    source = html_report.render(full())
    assert not re.search(r"https?://", source) and "@import" not in source
    for tag, attributes in Page(source).tags:
        assert tag not in {"script", "link", "iframe"}
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", source))


def test_inner_references_of_the_plots_lead_somewhere() -> None:
    page = Page(html_report.render(full()))
    names = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    targets = {str(attributes["xlink:href"])[1:] for _, attributes in page.tags if "xlink:href" in attributes}
    assert targets and targets <= names


def test_figures_are_rounded_and_the_best_is_bold() -> None:
    rows: list[list[ReportCell | str | float | int | None]] = [
        ["a", 0.12345, 12],
        ["b", ReportCell(1234.5, best=True), None],
        ["c", 0.00123, 3_000_000],
        ["d", math.nan, 0],
    ]
    page = Page(html_report.render(Report("x", tables=[ReportTable("t", ["name", "AP", "n"], rows)])))
    assert page.of("th") == ["name", "AP", "n"]
    assert page.of("b") == ["1,234.500"]
    assert page.of("td") == ["a", "0.123", "12", "b", "-", "c", "0.0012", "3000000", "d", "nan", "0"]


def test_plot_shows_its_lines_by_name() -> None:
    lines = [("train", [1, 2], [1.0, 0.5]), ("$a_1$", [2], [0.75])]
    page = Page(html_report.render(Report("x", curves=[Curve("loss", lines)])))
    assert {"train", "$a_1$", "step"} <= set(page.of("text"))  # a name, not a formula
    assert sum(tag == "svg" for tag, _ in page.tags) == 1


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [("train", [], [])],
        [("train", [1, 2], [math.nan, math.nan])],
        [("train", [1, 2, 3], [1.0, math.inf, 2.0]), ("", [5], [0.0])],
    ],
)
def test_curves_without_values_do_not_stop_the_report(lines: list[tuple[str, list[int], list[float]]]) -> None:
    page = Page(html_report.render(Report("x", curves=[Curve("odd", lines)])))
    assert page.of("figcaption") == ["odd"]


def test_what_is_empty_is_left_out() -> None:
    page = Page(html_report.render(Report("only a title")))
    assert page.of("h1") == ["only a title"] and not page.of("h2")
    table = Page(html_report.render(Report("x", tables=[ReportTable("empty", ["a", "b"], [])])))
    assert table.of("th") == ["a", "b"] and table.of("h2") == ["empty"]


def test_same_report_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "run" / "report.html"
    html_report.write_report(str(path), full())
    first = path.read_bytes()
    html_report.write_report(str(path), full())
    assert path.read_bytes() == first == html_report.render(full()).encode()
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


def test_a_note_stands_below_the_title_once(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    html_report.add_note(str(path), "old")
    assert not path.exists()
    html_report.write_report(str(path), full())
    for _ in range(2):
        html_report.add_note(str(path), "it is <old>")
    assert Page(path.read_text()).of("p") == ["it is <old>"]
    assert Page(path.read_text()).of("h1") == Page(html_report.render(full())).of("h1")
    html_report.write_report(str(path), full())
    assert not Page(path.read_text()).of("p")
    path.write_bytes(b"\xff<header></header>")  # no text: a damaged page is not in the way of a run
    html_report.add_note(str(path), "old")
    assert path.read_bytes() == b'\xff<header><p class="note">old</p></header>'
    html_report.add_note(str(tmp_path), "old")


def log(folder: Path, scalars: Mapping[str, Mapping[int, float]]) -> Path:
    """Logs {tag: {step: value}} like a run and returns the event file."""
    before = set(folder.glob("*"))
    writer = tf.summary.create_file_writer(str(folder))
    with writer.as_default():
        for tag, values in scalars.items():
            for step, value in values.items():
                tf.summary.scalar(tag, value, step=step)
    writer.close()
    (path,) = set(folder.glob("*")) - before
    return path


def test_curves_are_what_was_logged(tmp_path: Path) -> None:
    log(tmp_path / "train", {"loss": {20: 0.5, 10: 1.5}, "rate": {10: 0.25}})
    log(tmp_path / "validation", {"loss": {20: 0.75}})
    log(tmp_path / "elsewhere", {"loss": {20: 9.0}})
    expected = {"train/loss": ([10, 20], [1.5, 0.5]), "train/rate": ([10], [0.25]), "validation/loss": ([20], [0.75])}
    assert html_report.read_curves(str(tmp_path)) == expected


def test_step_logged_twice_counts_as_logged_last(tmp_path: Path) -> None:
    """The run resumed from step 10 after an interruption, so its second file starts with step 20 again."""
    for order, values in ((1, {10: 1.0, 20: 2.0}), (2, {20: 3.0, 30: 4.0})):
        path = log(tmp_path / "train", {"loss": values})
        path.rename(path.with_name(f"events.out.tfevents.{order}.host.v2"))  # names sort by time
    assert html_report.read_curves(str(tmp_path)) == {"train/loss": ([10, 20, 30], [1.0, 3.0, 4.0])}


def test_half_a_record_at_the_end_is_dropped(tmp_path: Path) -> None:
    path = log(tmp_path / "train", {"loss": {1: 1.0, 2: 2.0}})
    path.write_bytes(path.read_bytes()[:-9])
    (tmp_path / "train" / "events.out.tfevents.0").write_bytes(b"")
    assert html_report.read_curves(str(tmp_path)) == {"train/loss": ([1], [1.0])}


def test_summaries_that_are_no_scalars_are_passed_over(tmp_path: Path) -> None:
    log(tmp_path / "train", {"loss": {1: 1.0}})
    writer = tf.summary.create_file_writer(str(tmp_path / "train"))
    with writer.as_default():
        tf.summary.image("seen", np.zeros((1, 4, 4, 3), np.uint8), step=1)
        tf.summary.text("words", "hello", step=1)
        tf.summary.histogram("spread", [1.0, 2.0], step=1)
    writer.close()
    older: list[tuple[str, dict[str, Any]]] = [
        ("picture", {"image": {"height": 1}}),
        ("plain", {"simple_value": 0.5}),
        ("bare", {}),
    ]
    with tf.io.TFRecordWriter(str(tmp_path / "train" / "tfevents.older")) as file:
        for tag, content in older:
            value = tf.compat.v1.Summary.Value(tag=tag, **content)
            event = tf.compat.v1.Event(step=3, summary=tf.compat.v1.Summary(value=[value]))
            file.write(event.SerializeToString())
    assert html_report.read_curves(str(tmp_path)) == {"train/loss": ([1], [1.0]), "train/plain": ([3], [0.5])}


def test_no_run_is_a_mistake_and_an_empty_one_is_not(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        html_report.read_curves(str(tmp_path / "nowhere"))
    assert html_report.read_curves(str(tmp_path)) == {}


def test_train_and_validation_share_a_plot_without_what_is_not_finite(tmp_path: Path) -> None:
    log(tmp_path / "train", {"loss": {1: math.nan, 2: 2.0, 3: math.inf}, "rate": {1: 0.5}})
    log(tmp_path / "validation", {"loss": {2: 3.0}})
    loss, rate = html_report.paired(html_report.read_curves(str(tmp_path)))
    assert loss == Curve("loss", [("train", [2], [2.0]), ("validation", [2], [3.0])])
    assert rate == Curve("rate", [("train", [1], [0.5])])
