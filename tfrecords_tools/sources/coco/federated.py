"""The classes that were looked for in an image of a federated dataset: LVIS, and files in its form.

    present + neg_category_ids - not_exhaustive_category_ids

If an entry does not say it in a way that can be read, as few classes as possible count: what was not looked for is not
trained as background, while a class that was is only missing there.
"""

from __future__ import annotations

from collections.abc import Mapping

from tfrecords_tools.sources.coco import coco_json, coco_keys
from tfrecords_tools.writing.counts import Account

NO_LIST = "image: {} is not a list, so only classes with objects count as looked for"
MISSING = "image: without neg_category_ids, unlike others, so only classes with objects count as looked for"
NOT_COMPLETE = "image: {} is not a list, so no class counts as looked for completely"
NO_CLASS = "image: an id in {} is not a category"
BOTH = "image: a class in neg_category_ids has objects, which are used"


def annotated(
    image: coco_json.CocoEntry, present: frozenset[int], by_key: Mapping[str, int], account: Account, place: str
) -> tuple[int, ...]:
    """Returns the class ids that were looked for in an image.

    Args:
      image: its entry.
      present: the class ids of its objects.
      by_key: {`id_key` of a category: class id}.
      account: counts what is not right.
      place: the image, for examples.
    """
    given = image.get(coco_keys.NEGATIVE), image.get(coco_keys.NOT_EXHAUSTIVE)
    if coco_keys.NEGATIVE not in image:
        account.notes.add(MISSING, place)
    elif not isinstance(given[0], list):
        account.notes.add(NO_LIST.format(coco_keys.NEGATIVE), f"{place}: {given[0]}")
    if given[1] is not None and not isinstance(given[1], list):
        account.notes.add(NOT_COMPLETE.format(coco_keys.NOT_EXHAUSTIVE), f"{place}: {given[1]}")
        return ()
    negative, partial = set[int](), set[int]()
    for key, listed, found in zip(
        (coco_keys.NEGATIVE, coco_keys.NOT_EXHAUSTIVE), given, (negative, partial), strict=True
    ):
        for number in listed if isinstance(listed, list) else ():
            class_id = by_key.get(coco_json.id_key(number))
            if class_id is None:
                account.notes.add(NO_CLASS.format(key), f"{place}: {number}")
            else:
                found.add(class_id)
    if negative & present:
        account.notes.add(BOTH, place)
    return tuple(sorted((present | negative) - partial))
