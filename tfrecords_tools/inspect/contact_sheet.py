"""Some images of a record set, every task drawn, as one page: chosen and drawn here, laid out in `contact_page`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from must_tf import tasks
from must_tf.common import files
from must_tf.common.errors import UserError
from must_tf.common.progress import Progress
from must_tf.data import record
from must_tf.shared import picture_grid
from tfrecords_tools.inspect import contact_page, pick
from tfrecords_tools.reading import label_summary, look_table, recordset
from tfrecords_tools.reading.recordset import RecordSet

SIDE = 288  # pixels of a thumbnail's longer side: the names of classes can still be read
JPEG_QUALITY = 80
MOST = 2000  # images; each costs the page about 100 KB, and a browser has to hold them all
ALL_CLASSES = 10**6


Place = tuple[str, int]  # file name, record in it


class Shown(NamedTuple):
    """Which images a page shows: the choice (see `pick`), and how many."""

    pick: str = pick.EVEN
    images: int = 60


class Card(NamedTuple):
    """One image of the page: what the filters look at, and its pictures as JPEG, the photo's first."""

    about: dict[str, Any]
    pictures: dict[str, bytes]


def spread(records: int, wanted: int) -> list[int]:
    """Places of `wanted` of `records` images, evenly spread, first and last included."""
    return np.unique(np.linspace(0, records - 1, min(wanted, records)).astype(int)).tolist()


def evenly(shards: Mapping[str, int], wanted: int) -> list[Place]:
    """Images that are evenly spread over a set of these {file name: records}, in the set's order."""
    found: list[Place] = []
    first, chosen = 0, spread(sum(shards.values()), wanted)
    for name, held in shards.items():
        found += [(name, place - first) for place in chosen if first <= place < first + held]
        first += held
    return found


def write(path: str, found: RecordSet, summary: Mapping[str, Any], shown: Shown) -> int:
    """Writes the page, whole or not at all.

    Args:
      path: of the HTML file.
      found: the records.
      summary: of `look.summary`; its `shards` say how many records lie where.
      shown: which images are.

    Returns:
      The number of images on it.

    Raises:
      UserError: none can be picked as asked.
    """
    even = shown.pick == pick.EVEN
    places = evenly(summary["shards"], shown.images) if even else pick.by_confidence(found, *shown)
    cards = _cards(found, places)
    sample = "all images" if len(cards) == summary["records"] else f"{len(cards)} of {summary['records']:,} images,"
    if not even:
        sample += f" the {shown.pick.replace('-', ' ')} of the whole set first"
    elif len(cards) < summary["records"]:
        sample += " evenly spread over the set"
    titled = contact_page.ContactPage(
        title=os.path.basename(os.path.abspath(found.directory)),
        sample=sample,
        order="as in the set" if even else "as picked",
        tables=look_table.tables(dict(summary), ALL_CLASSES),
        cards=[(card.about, card.pictures) for card in cards],
    )
    files.write_whole(path, contact_page.render(titled).encode())
    return len(cards)


def check_path(path: str, images: int) -> None:
    """Raises UserError, before the set is read, where the page could not be written."""
    if not path.endswith((".html", ".htm")):
        raise UserError(f"--page {path!r} must end in .html; it is one page.")
    if not 0 < images <= MOST:
        raise UserError(f"--images {images} must be 1 to {MOST}: all of them are held by one page.")
    if tf.io.gfile.isdir(path):
        raise UserError(f"--page {path!r} is a folder; give the page's own name in it.")


def _cards(found: RecordSet, places: Sequence[Place]) -> list[Card]:
    """In the order of the places; every shard is read once."""
    configs, cards = recordset.configs_of(found.manifest.classes), dict[Place, Card]()
    progress = Progress(len(places), "draw")
    for path in found.paths:
        name = os.path.basename(path)
        wanted = {place for file, place in places if file == name}
        for number, serialized in recordset.whole(path) if wanted else ():
            if number in wanted:
                cards[name, number] = card(serialized, configs, f"{name} record {number}")
                progress.advance()
            if number >= max(wanted):
                break
    progress.close()
    return [cards[place] for place in places]


def card(serialized: bytes, configs: Mapping[str, Any], place: str) -> Card:
    """One image with all its labels drawn."""
    example = tf.train.Example.FromString(serialized)
    info = record.info_of(example)
    try:
        image = record.decode_image(example.features.feature["image/encoded"].bytes_list.value[0]).numpy()
    except tf.errors.InvalidArgumentError:
        raise UserError(f"{place}: the image cannot be decoded. must-records check finds all that is wrong.") from None
    photo = picture_grid.enlarge(image, SIDE)
    about: dict[str, Any] = {"id": info.source_id, "place": place, "size": f"{info.width} x {info.height}", "tasks": {}}
    pictures = {"photo": _jpeg(photo)}
    specs = tasks.discover()
    labelled = record.read_labels(serialized, specs, configs)
    for task in (name for name in specs if name in labelled):
        labels, origin, _ = labelled[task]
        about["tasks"][task] = _about(
            label_summary.of(specs[task], labels, info, configs[task]), origin, configs[task].classes
        )
        pictures[task] = _jpeg(specs[task].draw(photo, labels, configs[task]))
    return Card(about, pictures)


def _about(found: label_summary.Facts, origin: str, names: Sequence[str]) -> dict[str, Any]:
    classes = {
        names[place] if 0 <= place < len(names) else f"#{place}": number for place, number in found.classes.items()
    }
    # A real label is certain: it has no place in an order by confidence.
    sure = found.confidence if record.is_pseudo(origin) else None
    return {
        "origin": origin,
        "unit": found.unit,
        "classes": classes,
        "objects": found.objects,
        "known": found.known,
        "confidence": None if sure is None else round(sure, 4),
    }


def _jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
