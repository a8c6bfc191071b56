"""The HTML page of a contact sheet. It needs no other file and no network; without JavaScript it shows everything.

The part of the address after `#` holds the state of the filters, so that a view can be linked:
`page.html#task=detection&class=cat&origin=real:coco&order=unsure&id=000139`.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

from must_tf.common.text import shown
from must_tf.shared import html_report
from tfrecords_tools.reading.summary_tables import SummaryTable


class ContactPage(NamedTuple):
    """The content of the page. Each card has the facts for the filters, and {task: JPEG} with "photo" first."""

    title: str
    sample: str  # describes how the images were chosen
    order: str  # describes their order
    tables: Sequence[SummaryTable]
    cards: Sequence[tuple[dict[str, Any], dict[str, bytes]]]


def render(page: ContactPage) -> str:
    """Returns the page as HTML. All text is escaped."""
    return html_report.template("tfrecords_tools.inspect", "contact_page.html").render(
        page=page,
        about=[_shown(about) for about, _ in page.cards],
        cards=[{"about": about, "pictures": _pictures(about, pictures)} for about, pictures in page.cards],
    )


def _shown(value: Any) -> Any:
    """Returns facts with all texts as the page shows them, so that the filters find them."""
    if isinstance(value, dict):
        return {_shown(key): _shown(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in value]
    return shown(value) if isinstance(value, str) else value


def _pictures(about: dict[str, Any], pictures: dict[str, bytes]) -> list[dict[str, str]]:
    """Returns one card's pictures for the template."""
    return [
        {
            "task": task,
            "caption": _caption(task, about["tasks"].get(task)),
            "data": f"data:image/jpeg;base64,{base64.b64encode(content).decode()}",
        }
        for task, content in pictures.items()
    ]


def _caption(task: str, about: dict[str, Any] | None) -> str:
    if about is None:
        return task
    parts = [f"{task} · {about['origin']}"]
    if about["objects"] is not None:
        parts.append(f"{about['objects']} object{'' if about['objects'] == 1 else 's'}")
    if about["known"] is not None:
        parts.append(f"{100 * about['known']:.0f} % known")
    if about["confidence"] is not None:
        parts.append(f"confidence {about['confidence']:.2f}")
    return " · ".join(parts)
