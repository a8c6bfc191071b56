"""Contact sheet: selects images of a dataset and draws the labels of every task; `contact_page` makes the page."""

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
from must_tf.data import opening, record
from must_tf.shared import picture_grid
from tfrecords_tools.inspect import contact_page, pick
from tfrecords_tools.reading import bad_records, label_summary, recordset, summary_tables
from tfrecords_tools.reading.recordset import RecordSet

SIDE = 288  # pixels of a thumbnail's longer side: class names can still be read
JPEG_QUALITY = 80
MOST = 2000  # images: each adds about 100 KB to the page, and a browser must hold all of them
ALL_CLASSES = 10**6


RecordPlace = tuple[str, int]  # file name, record in it


class PageImages(NamedTuple):
    """The selection of a page's images: one of `pick.CHOICES`, and the number of images."""

    pick: str = pick.EVEN
    images: int = 60


class ImageCard(NamedTuple):
    """One image of the page: the facts for the filters, and its pictures as JPEG, the photo first."""

    about: dict[str, Any]
    pictures: dict[str, bytes]


def spread(records: int, wanted: int) -> list[int]:
    """Returns the indices of `wanted` of `records` images, evenly spread, including the first and the last."""
    return np.unique(np.linspace(0, records - 1, min(wanted, records)).astype(int)).tolist()


def evenly(shards: Mapping[str, int], wanted: int) -> list[RecordPlace]:
    """Returns images that are evenly spread over {file name: number of records}, in the dataset's order."""
    places: list[RecordPlace] = []
    first, chosen = 0, spread(sum(shards.values()), wanted)
    for name, count in shards.items():
        places += [(name, index - first) for index in chosen if first <= index < first + count]
        first += count
    return places


def write(path: str, dataset: RecordSet, summary: Mapping[str, Any], selection: PageImages) -> int:
    """Writes the page atomically.

    Args:
      path: path of the HTML file.
      dataset: the records.
      summary: the dataset's `counts.summary`.
      selection: the images to show.

    Returns:
      The number of images on the page.

    Raises:
      UserError: no image can be selected.
    """
    even = selection.pick == pick.EVEN
    places = evenly(summary["shards"], selection.images) if even else pick.by_confidence(dataset, *selection)
    cards = _cards(dataset, places)
    sample = "all images" if len(cards) == summary["records"] else f"{len(cards)} of {summary['records']:,} images,"
    if not even:
        sample += f" the {selection.pick.replace('-', ' ')} of the whole dataset first"
    elif len(cards) < summary["records"]:
        sample += " evenly spread over the dataset"
    page = contact_page.ContactPage(
        title=os.path.basename(os.path.abspath(dataset.directory)),
        sample=sample,
        order="as in the dataset" if even else "as picked",
        tables=summary_tables.tables(summary, ALL_CLASSES),
        cards=[(card.about, card.pictures) for card in cards],
    )
    files.write_whole(path, contact_page.render(page).encode())
    return len(cards)


def check_path(path: str, images: int) -> None:
    """Raises UserError, before the dataset is read, if the page cannot be written as requested."""
    if not path.endswith((".html", ".htm")):
        raise UserError(f"--page {path!r} must end in .html.")
    if not 0 < images <= MOST:
        raise UserError(f"--images {images} is out of range: a page holds 1 to {MOST} images.")
    if tf.io.gfile.isdir(path):
        raise UserError(f"--page {path!r} is a folder. Add the name of the page, for example page.html.")


def _cards(dataset: RecordSet, places: Sequence[RecordPlace]) -> list[ImageCard]:
    """Returns the cards in the order of the places. Every shard is read once."""
    configs, cards = recordset.configs_of(dataset.manifest.classes), dict[RecordPlace, ImageCard]()
    progress = Progress(len(places), "draw")
    for path in dataset.paths:
        name = os.path.basename(path)
        wanted = {number for file, number in places if file == name}
        for number, serialized in recordset.whole(path) if wanted else ():
            if number in wanted:
                with bad_records.reading(path, number):
                    cards[name, number] = card(serialized, configs, f"{name} record {number}")
                progress.advance()
            if number >= max(wanted):
                break
    progress.close()
    return [cards[place] for place in places if place in cards]


def card(serialized: bytes, configs: Mapping[str, Any], place: str) -> ImageCard:
    """Draws one image with all its labels. `place` says where its record is."""
    example = opening.parsed(serialized)
    opening.require(example, {}, {})
    info, image = record.info_of(example), record.decode_image(opening.image_of(example)).numpy()
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
    return ImageCard(about, pictures)


def _about(label: label_summary.LabelSummary, origin: str, names: Sequence[str]) -> dict[str, Any]:
    classes = {
        names[place] if 0 <= place < len(names) else f"#{place}": number for place, number in label.classes.items()
    }
    # Real labels are certain: they are not ordered by confidence.
    confidence = label.confidence if record.is_pseudo(origin) else None
    return {
        "origin": origin,
        "unit": label.unit,
        "classes": classes,
        "objects": label.objects,
        "known": label.known,
        "confidence": None if confidence is None else round(confidence, 4),
    }


def _jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
