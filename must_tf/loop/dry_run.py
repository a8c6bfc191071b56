"""`must run --dry_run`: prints the steps of a plan with their time and size, and writes nothing to its folder."""

from __future__ import annotations

from must_tf.common import tables
from must_tf.loop import pace
from must_tf.loop.run import Expected


def show(expected: Expected) -> None:
    """Prints the datasets, the steps with their commands, and a table of what they cost."""
    for line in _datasets(expected):
        print(line)
    for number, step in enumerate(expected.steps, 1):
        print(f"\n[{number}/{len(expected.steps)}] {step.name}\n  {step.text}")
    print()
    measured = pace.costs(expected)
    rows = [(step.name, *(_number(value) for value in measured.get(step.name, pace.Cost()))) for step in expected.steps]
    known = [cost.minutes for cost in measured.values() if cost.minutes is not None]
    print()
    print(
        tables.table(
            ("step", "minutes", "GB on disk", "GB of memory"),
            rows,
            note=f"measured on a few images; - is not measured. {sum(known):.0f} minutes in all, the rest apart.",
        )
    )
    print("dry run: nothing was written to the plan's folder")


def _datasets(expected: Expected) -> list[str]:
    rows = [
        (
            name,
            facts.images,
            facts.side,
            ", ".join(f"{task} {count}" for task, count in facts.labelled.items()) or "none",
        )
        for name, facts in expected.facts.items()
    ]
    return [tables.table(("dataset", "images", "longer side", "images with labels, about"), rows)]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}"
