"""`must run --dry_run`: prints the steps of a plan with their time and size, and writes nothing to its folder."""

from __future__ import annotations

from must_tf.common import tables
from must_tf.loop import costs, disk, pace, shared_photos
from must_tf.loop.run import Expected

TOTAL = "in all"  # the last line of the table


def show(expected: Expected) -> None:
    """Prints the datasets, the steps with their commands, and a table of what they cost."""
    for line in (*_datasets(expected), *shared_photos.warnings(expected.folders)):
        print(line)
    sizes = _sizes(expected)
    for number, step in enumerate(expected.steps, 1):
        print(f"\n[{number}/{len(expected.steps)}] {step.name}{sizes.get(step.name, '')}\n  {step.text}")
    print()
    found = costs.costs(expected, pace.measure(expected))
    rows = {**found, TOTAL: costs.total(list(found.values()))}
    note = "estimated from a few images of each dataset. Memory is that of one step; with --jobs, several add up."
    if missing := [name for name, cost in found.items() if cost.minutes is None]:
        note += f" - could not be measured, and is not in the total: {', '.join(missing)}."
    print()
    print(
        tables.table(
            ("step", "minutes", "GB on disk", "GB of memory"),
            [(name, *map(_number, cost)) for name, cost in rows.items()],
            note=note,
        )
    )
    print("dry run: nothing was written to the plan's folder")


def _sizes(expected: Expected) -> dict[str, str]:
    """Returns {step: number of steps, batch size and input size} of the trainings."""
    trainings, hours, found = disk.without_hours(expected.trainings), costs.planned_minutes(expected.trainings.plan), {}
    for step in trainings.steps():
        if step.words[0] == "train":
            values = disk.config_of(step)
            task, count = values["task"], f"{values['trainer']['train_steps']:,} steps"
            if step.name in hours:
                count = f"{hours[step.name] / 60:g} hours"
            batch = task["train_data"]["global_batch_size"]
            found[step.name] = f" · {count} of {batch} images · {task['input_size']} pixels"
    return found


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
