"""The benchmark's table: ratios, targets and text worked out by hand. Measurements run in their own processes."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as bench
from benchmarks.harness import apart, chart, table
from benchmarks.harness.table import BenchmarkSettings, Comparison, Figure
from must_tf.common.errors import UserError

FAST = Comparison("input", "images/s", Figure(30.0, cpu_ms=20.0), Figure(10.0, cpu_ms=80.0), Figure(60.0), at_least=3.0)


def test_a_figure_is_the_median_of_its_rounds() -> None:
    figure = table.median([9.0, 1.0, 2.0], [30.0, 10.0, 50.0])
    assert (figure.value, figure.rounds, figure.cpu_ms) == (2.0, (9.0, 1.0, 2.0), 30.0)


@pytest.mark.parametrize(
    ("row", "ratio", "reached"),
    [
        (FAST, 3.0, True),
        (Comparison("x", "s", Figure(29.9), Figure(10.0), at_least=3.0), 2.99, False),
        (Comparison("x", "MiB", Figure(25.0), Figure(100.0), at_most=0.25), 0.25, True),
        (Comparison("x", "MiB", Figure(26.0), Figure(100.0), at_most=0.25), 0.26, False),
        (Comparison("x", "images/s", Figure(30.0), Figure(1.0), Figure(60.0), "floor", at_least=0.25), 0.5, True),
        (Comparison("x", "times", Figure(1.3), against="", at_least=0.8, at_most=1.2), 1.3, False),
        (Comparison("x", "times", Figure(1.1), against="", at_least=0.8, at_most=1.2), 1.1, True),
        (Comparison("x", "s", Figure(1.0), Figure(2.0)), 0.5, None),
        (Comparison("x", "s", Figure(1.0), None, at_most=1.0), None, None),
        (Comparison("x", "s", None, Figure(1.0), at_most=1.0), None, None),
    ],
)
def test_ratio_and_reached(row: Comparison, ratio: float | None, reached: bool | None) -> None:
    assert row.ratio == (ratio if ratio is None else pytest.approx(ratio))
    assert row.reached is reached


def test_processor_time_has_a_ratio_of_its_own() -> None:
    assert FAST.cpu_ratio == 0.25
    assert Comparison("x", "s", Figure(1.0, cpu_ms=3.0), Figure(2.0)).cpu_ratio is None


def test_the_table_says_what_was_missed_and_what_was_not_measured() -> None:
    missed = Comparison("slow", "s", Figure(12345.6), Figure(1.0), at_most=1.0, note="on purpose")
    unmeasured = Comparison("not there", "s", Figure(1.0), at_most=1.0)
    lines = table.lines([FAST, missed, unmeasured])
    assert lines[0].split() == ["what", "unit", "this", "project", "Model", "Garden"] + [
        *["floor", "ratio", "CPU", "ratio", "target", "reached"]
    ]
    assert lines[2].split() == ["input", "images/s", "30.0", "10.0", "60.0", "3.00", "0.250", ">=", "3", "yes"]
    assert lines[3].split() == ["slow", "s", "12,346", "1.00", "-", "12,346", "-", "<=", "1", "NO"]
    assert lines[4].endswith("not measured")
    assert lines[-1] == "slow: on purpose. Missed: the cause was not measured"
    explained = [dataclasses.replace(each, why="it waits") for each in (FAST, missed)]
    assert table.lines(explained)[-1] == "slow: on purpose. Missed: it waits"
    assert "it waits" not in "".join(table.lines(explained[:1]))


def test_the_chart_has_a_bar_per_ratio_on_its_side_of_one() -> None:
    worse = Comparison("worse & slower", "images/s", Figure(5.0), Figure(10.0), at_least=3.0)
    drawn = ElementTree.fromstring(chart.svg([FAST, worse, Comparison("none", "s", None)]))
    bars = [each for each in drawn if each.tag.endswith("rect")]
    assert [each.get("fill") for each in bars] == [chart.REACHED, chart.MISSED]
    one = float(bars[0].get("x", "nan"))  # a bar to the right begins at 1, a bar to the left ends at 1
    assert float(bars[1].get("x", "nan")) + float(bars[1].get("width", "nan")) == pytest.approx(one, abs=0.2)
    texts = [each.text for each in drawn if each.tag.endswith("text")]
    assert "worse & slower" in texts and "none" not in texts


def test_rows_are_chosen_by_name_or_first_word() -> None:
    known: dict[str, bench.Measure] = {name: lambda settings: [] for name in ("input-640", "input-128", "memory")}
    assert list(bench.chosen("", known)) == list(known)
    assert list(bench.chosen("memory, input", known)) == list(known)
    assert list(bench.chosen("input-128", known)) == ["input-128"]
    with pytest.raises(UserError, match="'inptu'. Did you mean 'input-"):
        bench.chosen("inptu", known)


def test_what_is_measured_is_written(tmp_path: Path) -> None:
    def measure(settings: BenchmarkSettings) -> list[Comparison]:
        assert settings.work.is_dir() and not list(settings.work.iterdir())
        return [FAST]

    about = {"cores": 2, "load_at_start": 0.0, "images": "scenes", "rounds": 1, "versions": {"tensorflow": "1"}}
    (tmp_path / "work").mkdir()
    rows = bench.measured({"a": measure, "b": measure}, BenchmarkSettings(tmp_path / "work"), tmp_path / "out", about)
    assert rows == [FAST, FAST]
    content = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [(row["ratio"], row["reached"]) for row in content["rows"]] == [(3.0, True)] * 2
    assert "input" in (tmp_path / "out" / "table.txt").read_text()
    assert (tmp_path / "out" / "chart.svg").read_text().startswith("<svg")


def test_a_call_apart_gives_the_value_and_says_why_it_failed(tmp_path: Path) -> None:
    assert apart.call("os:getenv", {"key": "TRIED"}, tmp_path, {"TRIED": "yes"}) == "yes"
    assert "TRIED" not in os.environ
    with pytest.raises(RuntimeError, match="not_there"):
        apart.call("os:not_there", {}, tmp_path)
