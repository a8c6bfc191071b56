"""Prints the outcome of a command that wrote records: lines for people, or one JSON object for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import typer

from tfrecords_tools.convert.run import Outcome
from tfrecords_tools.reading import depth_range
from tfrecords_tools.sources.selected import LEFT_OUT


def show(outcome: Outcome, out: str, as_json: bool) -> None:
    """Prints lines to stdout. With `as_json`, prints them to stderr and a JSON object to stdout."""
    metres = depth_range.sampled(out, outcome.manifest)
    for line in lines(outcome, out, metres):
        typer.echo(line, err=as_json)
    if as_json:
        typer.echo(json.dumps(content(outcome, out) | ({"metres": metres} if metres else {})))


def content(outcome: Outcome, out: str) -> dict[str, object]:
    """Returns the JSON object: the manifest's counts, without the entries of single shards, and the drop rates."""
    written = outcome.manifest
    return {
        "out": out,
        "records": written.records,
        "shards": len(written.shards),
        "origins": written.origins,
        "objects": written.objects,
        "limits": written.limits,
        "dropped": written.dropped,
        "notes": written.notes,
        "image_drop_rate": outcome.image_drop_rate,
        "object_drop_rate": outcome.object_drop_rate,
        "label_drop_rates": dict(outcome.label_drop_rates),
        "seconds": round(outcome.seconds, 3),
    }


def lines(outcome: Outcome, out: str, metres: Mapping[str, float] | None = None) -> Sequence[str]:
    """Returns the lines for people. `metres` are those of some of the depth labels."""
    written = outcome.manifest
    lines = [f"{written.records} records in {len(written.shards)} shards"]
    for task, origins in written.origins.items():
        counts = [f"{count} {origin}" for origin, count in origins.items()]
        if task == "detection":
            counts.append(f"{sum(written.objects.get(task, {}).values())} objects")
        if task == depth_range.TASK and metres:
            counts.append(depth_range.line(metres))
        lines.append(f"  {task}: {', '.join(counts)}")
    for title, reasons in (("dropped", written.dropped), ("note", written.notes)):
        for reason, entry in sorted(reasons.items()):
            if reason.startswith(LEFT_OUT):
                lines.append(left_out(reason, entry["count"]))
                continue
            lines.append(f"{title}: {entry['count']} x {reason}, first {entry['examples'][0]}")
    lines.append(f"{out} · {outcome.seconds:.1f} s")
    return lines


def left_out(reason: str, count: int) -> str:
    """Returns the sentence for photos that were not wanted."""
    place = reason.removeprefix(LEFT_OUT).removeprefix(": ")
    return f"{count:,} photos are left out: they are {place}" if count > 1 else f"1 photo is left out: it is {place}"
