"""KITTI's depth: projected laser points, known for a part of the pixels.

    DEPTH/train/2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_02/0000000005.png      annotated depth
    IMAGES/2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000005.png                  raw data
    DEPTH/2011_09_26_drive_0002_sync_groundtruth_depth_0000000005_image_02.png                 selected validation
    IMAGES/2011_09_26_drive_0002_sync_image_0000000005_image_02.png

Depth is the distance along the camera's axis in 1/256 metres, 16 bit; 0 = unknown. An image without depth is left out.
"""

from __future__ import annotations

import dataclasses
import os
import re

import numpy as np

from must_tf.common.errors import UserError
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo
from tfrecords_tools.sources import Sample, files, maps, pixels, surface
from tfrecords_tools.sources.leftovers import FolderFiles
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

UNITS = 256.0  # per metre
FARTHEST = 120.0  # metres; the reach of the laser, a Velodyne HDL-64E
FEW = 0.01  # share of the known pixels that may be wrong
# The part of a path that tells the drive, the camera and the frame.
ANNOTATED = re.compile(
    r"(?:^|/)(?P<date>\d{4}_\d\d_\d\d)(?P<drive>_\w+_sync)/proj_depth/groundtruth/(?P<cam>image_\d\d)/(?P<frame>\d+)\.png$"
)
SELECTED = re.compile(r"(?:^|/)(?P<drive>[^/]+_sync)_groundtruth_depth_(?P<frame>\d+)_(?P<cam>image_\d\d)\.png$")


@dataclasses.dataclass(frozen=True)
class Kitti:
    """`source_id` is the drive, the camera and the frame, like `2011_09_26_drive_0001_sync/image_02/0000000005`.

    Attributes:
      images: folder of the raw data or of the selected images.
      depth: folder of the depth maps, of one split.
    """

    images: str
    depth: str

    def find(self) -> Listing:
        """Lists the depth maps whose image exists.

        Raises:
          UserError: there is no depth map, or none of their images exists.
        """
        files.require_folder(self.images, "--images")
        files.require_folder(self.depth, "--depth")
        present, account, items = FolderFiles(self.images), Account(), on_disk.Items()
        maps_there, names, first, taken = FolderFiles(self.depth), 0, "", on_disk.NameSet()
        for name in filter(files.is_image, maps_there):
            frame = _frame(name)
            if frame is None:
                continue
            maps_there.use(name)
            names, first = names + 1, first or name
            source_id, candidates = frame
            image = next((path for path in candidates if path in present), None)
            if not taken.add(source_id):
                account.dropped.add("image: several depth maps of this frame, the first is used", maps_there.path(name))
            elif image is None:
                account.dropped.add("image: file is missing", f"{candidates[0]} for {name}")
            else:
                items.append(Item(source_id, (present.path(image), maps_there.path(name))))
        if not names:
            raise UserError(
                f"--depth {self.depth} has no depth map like DRIVE_sync/proj_depth/groundtruth/image_02/0000000005.png."
            )
        files.require_some(items, [first] * names, self.images, "Give --images the folder of the raw data.")
        for folder in (present, maps_there):
            folder.use_paths(path for item in items for path in item.files)
        present.note_unused_outside(self.depth, account)
        maps_there.note_unused(account, _kind_of)
        return Listing(items, {}, (), account, names, ("depth",))

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the image and its depth."""
        path, depth = item.files
        labelled = {}
        stored = pixels.upright(pixels.read_file(path), None, path, account)
        info = ImageInfo(item.source_id, stored.height, stored.width)
        try:
            units = maps.read_map(depth, "depth")
            maps.require_size(units, info, "depth", depth)
            if units.dtype != np.uint16 or units.ndim != 2:
                raise Dropped("depth: pixels of another format", f"{depth}: {units.dtype} instead of 16 bit")
            metres = units.astype(np.float32) / np.float32(UNITS)
            labelled["depth"] = Labelled({"metres": metres}, "real:kitti")
            _note_reach(metres, depth, account)
        except Dropped as dropped:
            account.dropped.add(dropped.reason, dropped.example)
        return Sample(stored.encoded, info, labelled, os.path.basename(path))


def _note_reach(metres: np.ndarray, path: str, account: Account) -> None:
    """Notes depth that the dataset cannot have: mostly its unit is another one, such as millimetres."""
    known = metres[metres > 0]
    if known.size and (beyond := float((known > FARTHEST).mean())) > FEW:
        reason = f"depth: farther than the laser's {FARTHEST:g} metres; are the maps in 1/{UNITS:g} metres?"
        account.notes.add(reason, f"{path}: {beyond:.0%}")
    else:
        surface.note_reach(metres, path, account, f"are the maps in 1/{UNITS:g} metres?")


def _kind_of(name: str) -> str:
    return "file: not a depth map by its name, not used" if files.is_image(name) else files.kind_of(name)


def _frame(name: str) -> tuple[str, list[str]] | None:
    """Returns the id of a depth map's frame and the paths where its image may be; None for other files."""
    if match := ANNOTATED.search(name):
        drive, cam, frame = match["date"] + match["drive"], match["cam"], match["frame"]
        inside = f"{drive}/{cam}/data/{frame}"
        found = [f"{folder}{inside}{end}" for folder in (f"{match['date']}/", "") for end in (".png", ".jpg")]
        return f"{drive}/{cam}/{frame}", found
    if match := SELECTED.search(name):
        drive, cam, frame = match["drive"], match["cam"], match["frame"]
        return f"{drive}/{cam}/{frame}", [f"{drive}_image_{frame}_{cam}{end}" for end in (".png", ".jpg")]
    return None
