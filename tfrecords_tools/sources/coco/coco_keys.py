"""Keys of COCO's JSON files that are used, or say nothing about labels. Others are counted if they are set."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tfrecords_tools.sources import objects
from tfrecords_tools.sources.coco import coco_json, corrected
from tfrecords_tools.writing.counts import Account

# Key of an image entry from export-coco: the record's own id, if it is not an integer like COCO's ids.
SOURCE_ID = "must_source_id"
# Keys of LVIS' image entries: categories that were looked for and are absent; and those of which some may be missing.
NEGATIVE, NOT_EXHAUSTIVE = "neg_category_ids", "not_exhaustive_category_ids"
IMAGE = {
    "id", "file_name", "height", "width", "license", "coco_url", "flickr_url", "url", "date_captured", SOURCE_ID,
    corrected.KEY, NEGATIVE, NOT_EXHAUSTIVE,
}  # fmt: skip
# LVIS' included. Keypoints are counted with the objects.
CATEGORY = {
    "id", "name", "supercategory", "color", "isthing", "keypoints", "skeleton", "synset", "synonyms", "def",
    "frequency", "image_count", "instance_count",
}  # fmt: skip
# Of the panoptic labels of an image, and of one segment; `score` is export-coco's.
PANOPTIC = {"id", "image_id", "file_name", "segments_info", corrected.KEY}
SEGMENT = {"id", "category_id", "area", "bbox", "iscrowd", "isthing", "score"}
# Of a mask in a stuff JSON.
STUFF = {"id", "image_id", "category_id", "area", "bbox", "iscrowd", "segmentation"}

SHOWN = 40  # characters of a value in an example


def unused(kind: str, entry: coco_json.CocoEntry, known: Collection[str], place: str) -> list[tuple[str, str]]:
    """Returns reason and example of each key of an entry that is set and not among the known ones."""
    found = []
    for key in sorted(entry.keys() - known):
        if entry[key] and str(entry[key]).lower() not in objects.NOT_SET:
            found.append((f"{kind}: {key} is set and not used", f"{place}: {str(entry[key])[:SHOWN]}"))
    return found


def note(account: Account, notes: Iterable[tuple[str, str]]) -> None:
    """Notes pairs of reason and example."""
    for reason, example in notes:
        account.notes.add(reason, example)


def note_categories(categories: Iterable[coco_json.CocoEntry], account: Account) -> None:
    """Notes the unused keys of categories."""
    for category in categories:
        note(account, unused("category", category, CATEGORY, str(category["name"])))
