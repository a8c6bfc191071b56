"""What a command did: lines for people, one JSON object for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import typer

from tfrecords_tools.convert.run import Outcome


def show(outcome: Outcome, out: str, as_json: bool) -> None:
    """Prints the lines on stdout; with `as_json` on stderr, and the object on stdout."""
    for line in lines(outcome, out):
        typer.echo(line, err=as_json)
    if as_json:
        typer.echo(json.dumps(content(outcome, out)))


def content(outcome: Outcome, out: str) -> dict[str, object]:
    """The manifest's counts and what came of them; the shards' own entries stay in the manifest."""
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


def lines(outcome: Outcome, out: str) -> Sequence[str]:
    """What was done, line by line."""
    written = outcome.manifest
    lines = [f"{written.records} records in {len(written.shards)} shards"]
    for task, origins in written.origins.items():
        shown = ", ".join(f"{count} {origin}" for origin, count in origins.items())
        objects = sum(written.objects.get(task, {}).values())
        counted = f", {objects} objects" if task == "detection" else ""
        lines.append(f"  {task}: {shown}{counted}")
    for title, reasons in (("dropped", written.dropped), ("note", written.notes)):
        for reason, entry in sorted(reasons.items()):
            lines.append(f"{title}: {entry['count']} x {reason}, first {entry['examples'][0]}")
    lines.append(f"{out} · {outcome.seconds:.1f} s")
    return lines
