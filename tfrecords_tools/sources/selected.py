"""Photos of a dataset that are chosen by their content: `--part` and `--exclude`.

The SHA-256 of a record's image, `image/key/sha256`, is read as a number from 0 to 1. A photo belongs to validation if
its number is below `--validation-share`. The same photo is therefore on the same side in every dataset and format.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np

from must_tf.common.errors import UserError, nearest
from must_tf.data import contents
from tfrecords_tools.reading import located, recordset
from tfrecords_tools.sources import Sample, Source
from tfrecords_tools.writing import worker_pool
from tfrecords_tools.writing.counts import Account, Dropped, Tally
from tfrecords_tools.writing.items import Item, Listing

TRAIN, VALIDATION = PARTS = ("train", "validation")
SHARE = 0.1  # of the photos that are validation's by default
LEFT_OUT = "left out"  # photos that are not wanted are noted under this kind; they are not dropped
LOOKED_AT = 64  # photos that are read at a time, until both parts have one


class LeftOut(Exception):
    """A photo that could be a record and is not wanted. `reason` is noted; `example` says which one it was."""

    def __init__(self, place: str, example: str):
        super().__init__(place, example)
        self.reason, self.example = f"{LEFT_OUT}: in {place}", example


@dataclasses.dataclass(frozen=True, eq=False)
class ExcludedRecords:
    """The photos of a record set.

    Attributes:
      directory: folder of the set.
      digest: a hash of `numbers`.
      numbers: uint64 [N], ascending; see `contents`.
    """

    directory: str
    digest: str
    numbers: np.ndarray = dataclasses.field(repr=False)  # `digest` stands for it in fingerprints

    def has(self, number: int) -> bool:
        """Returns True if a photo with this number is among them."""
        place = int(np.searchsorted(self.numbers, np.uint64(number)))
        return place < len(self.numbers) and int(self.numbers[place]) == number


def excluded(pattern: str) -> ExcludedRecords:
    """Reads the photos of the records that `--exclude` names. Raises UserError if they cannot be opened."""
    dataset = recordset.opened(pattern, "--exclude")
    numbers = np.unique(located.contents_of(dataset))
    return ExcludedRecords(dataset.directory, hashlib.sha256(numbers.tobytes()).hexdigest(), numbers)


def selected(source: Source, part: str, validation_share: float, exclude: Sequence[str]) -> Source:
    """Limits the source to one part of its photos, and to photos that are not in other records.

    Args:
      source: the dataset.
      part: one of `PARTS`; empty for both.
      validation_share: share of the photos that belong to validation.
      exclude: patterns of record files.

    Raises:
      UserError: an option has an invalid value, or records cannot be read.
    """
    if part and part not in PARTS:
        raise UserError(f"--part {part!r} does not exist.{nearest(part, PARTS)} Choose {' or '.join(PARTS)}.")
    if not 0 < validation_share < 1:
        raise UserError(f"--validation-share {validation_share:g} is out of range: it must be above 0 and below 1.")
    if validation_share != SHARE and not part:
        raise UserError("--validation-share needs --part train or --part validation.")
    if not part and not exclude:
        return source
    return Selected(source, part, validation_share, tuple(excluded(pattern) for pattern in exclude))


@dataclasses.dataclass(frozen=True)
class Selected:
    """`source` without the photos of the other part, and without those of the records in `exclude`."""

    source: Source
    part: str
    validation_share: float
    exclude: tuple[ExcludedRecords, ...]

    @property
    def share(self) -> float:
        """The expected share of the source's photos."""
        return {TRAIN: 1 - self.validation_share, VALIDATION: self.validation_share}.get(self.part, 1.0)

    def find(self) -> Listing:
        """Lists all of the source's images, because their content is not known yet.

        Raises:
          UserError: as in the source, or one of the two parts would be empty.
        """
        listing = self.source.find()
        if self.part:
            require_both_parts(self, listing.items)
        return listing

    def load(self, item: Item, account: Account) -> Sample:
        """Reads an image and its labels.

        Raises:
          Dropped: as in the source.
          LeftOut: the photo is not one of these.
        """
        own = Account()
        try:
            sample = self.source.load(item, own)
        except Dropped:
            account.merge(own)
            raise
        number = _number(sample)
        if self.part and part_of(number, self.validation_share) != self.part:
            raise LeftOut(f"the {part_of(number, self.validation_share)} part", item.source_id)
        for records in self.exclude:
            if records.has(number):
                raise LeftOut(records.directory, item.source_id)
        account.merge(own)
        return sample


def _number(sample: Sample) -> int:
    return contents.short(hashlib.sha256(sample.image).hexdigest())


def part_of(number: int, validation_share: float) -> str:
    """Returns the part that a photo belongs to, by its `contents.short`."""
    return VALIDATION if number < validation_share * contents.RANGE else TRAIN


def share_of(source: Source) -> float:
    """Returns the share of a dataset's listed photos that are expected to be wanted."""
    return source.share if isinstance(source, Selected) else 1.0


def require_both_parts(chosen: Selected, items: Sequence[Item]) -> None:
    """Reads photos until both parts have one: a few, unless the dataset is tiny.

    Raises:
      UserError: one of the parts would be empty.
    """
    numbers: list[int] = []
    for start in range(0, len(items), LOOKED_AT):
        numbers += worker_pool.apart(_numbers, (chosen, items[start : start + LOOKED_AT]))
        if len({part_of(number, chosen.validation_share) for number in numbers}) == len(PARTS):
            return
    if not numbers:
        return  # the conversion will say why none of the photos can be read
    (only,) = {part_of(number, chosen.validation_share) for number in numbers}
    empty = TRAIN if only == VALIDATION else VALIDATION
    count = len(set(numbers))
    better = _better_share(min(numbers), max(numbers), empty)
    remedy = f"Give --validation-share {better:g} for both parts" if count > 1 else "Add other photos"
    raise UserError(
        f"--validation-share {chosen.validation_share:g} leaves the {empty} part without a photo: there "
        f"{'are only ' + str(count) + ' different photos' if count > 1 else 'is only one photo'}. {remedy}, or leave "
        "--part out."
    )


def _numbers(job: tuple[Selected, Sequence[Item]], tick: Callable[..., None]) -> list[int]:
    """Returns the numbers of photos, read one by one until both parts have one. Runs in a worker."""
    chosen, items = job
    numbers: list[int] = []
    for item in items:
        try:
            numbers.append(_number(chosen.source.load(item, Account())))
        except Exception:  # the conversion will report it
            continue
        tick()
        if len({part_of(number, chosen.validation_share) for number in numbers}) == len(PARTS):
            break
    return numbers


def _better_share(lowest: int, highest: int, empty: str) -> float:
    """Returns a share with few digits, near the present one, at which neither part is empty."""
    for digits in range(1, 16):
        unit = 10**digits
        steps = lowest / contents.RANGE * unit if empty == VALIDATION else highest / contents.RANGE * unit
        share = (math.floor(steps) + 1 if empty == VALIDATION else math.floor(steps)) / unit
        if lowest < share * contents.RANGE <= highest:
            return share
    return highest / contents.RANGE


def require_some(records: int, notes: Tally) -> None:
    """Raises UserError if there are photos, and all of them are left out."""
    count = notes.count(LEFT_OUT)
    if count and not records:
        places = [reason.removeprefix(f"{LEFT_OUT}: in ") for reason in notes.content if reason.startswith(LEFT_OUT)]
        raise UserError(
            f"no photo is left to convert: {count:,} are in {' or in '.join(places)}. Leave that --exclude out, or "
            "convert other photos, into another --out."
        )
