"""Label Studio's JSON-MIN: one flat object per annotation, turned into a task of the full JSON.

    {"id": 1, "image": "/data/upload/1/a.jpg", "annotation_id": 1, "annotator": 1,
     "label": [{"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": ["cat"],
                "original_width": 640, "original_height": 480}], ...}

The keys besides the tool's own are the task's data and the results of its controls, under the controls' names. A single
choice is a plain text like the data, so that nothing tells whether it is a class: such texts are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfrecords_tools.sources import files

Entry = dict[str, Any]
MARK = "annotation_id"
OWN = ("id", "annotator", MARK, "created_at", "updated_at", "lead_time", "agreement")
SIZE = ("original_width", "original_height", "image_rotation")


def task_of(entry: Entry, kinds: Sequence[str]) -> Entry:
    """Returns the task of an entry of JSON-MIN; an empty one if it is something else.

    Args:
      entry: of the file's list.
      kinds: the types of results that are used, each of which is the key of its classes, too.
    """
    if MARK not in entry:
        return {}
    data: Entry = {}
    results: list[Entry] = []
    for key, value in entry.items():
        if key in OWN:
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, dict):
                results.append(_result(one, kinds))
            elif isinstance(one, str) and not isinstance(value, list):
                data[key] = one
    images = [key for key, text in data.items() if key == "image" or files.is_image(text.split("?")[0])]
    results += [{"type": f"{key!r} of JSON-MIN"} for key in data if key not in images]
    data = {key: data[key] for key in images} or data
    return {"id": entry.get("id"), "data": data, "annotations": [{"result": results}]}


def _result(one: Entry, kinds: Sequence[str]) -> Entry:
    """Returns a result of the full JSON."""
    kind = next((kind for kind in kinds if kind in one), "a control of JSON-MIN")
    value = {key: part for key, part in one.items() if key not in SIZE}
    return {"type": kind, "value": value} | {key: one[key] for key in SIZE if key in one}
