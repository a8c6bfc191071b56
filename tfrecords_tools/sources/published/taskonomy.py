"""Taskonomy, and datasets in Omnidata's layout (Replica, Hypersim, ...): depth and surface normals.

    ROOT/rgb/taskonomy/beechwood/point_0_view_0_domain_rgb.png                     Omnidata: a folder per domain
    ROOT/depth_zbuffer/taskonomy/beechwood/point_0_view_0_domain_depth_zbuffer.png
    ROOT/normal/taskonomy/beechwood/point_0_view_0_domain_normal.png
    ROOT/beechwood_rgb/rgb/point_0_view_0_domain_rgb.png                           Taskonomy: an archive per domain
    ROOT/beechwood_depth_zbuffer/depth_zbuffer/point_0_view_0_domain_depth_zbuffer.png

Depth is the distance along the camera's axis in 1/512 metres, 16 bit; 65535 and 0 = unknown. Normals are RGB =
(n + 1) * 127.5 with x right, y down and z toward the camera, so ours are (x, y, -z); shorter than 0.5 = unknown. Where
most normals of an image face away from the camera, the image has other axes, and its normals are dropped. Other domains
are counted. An image without one of the files has no label for that task.
"""

from __future__ import annotations

import dataclasses
import os
import posixpath
import re

import numpy as np

from must_tf.common.errors import UserError
from must_tf.data.record import Labelled
from must_tf.spec import ImageInfo
from tfrecords_tools.sources import Sample, files, maps, pixels, surface
from tfrecords_tools.sources.leftovers import FolderFiles
from tfrecords_tools.sources.published.hypersim import SHORTEST
from tfrecords_tools.writing import on_disk
from tfrecords_tools.writing.counts import Account, Dropped
from tfrecords_tools.writing.items import Item, Listing

NAME = re.compile(r"^(?P<view>.+)_domain_(?P<domain>[a-z0-9_]+)\.(?:png|jpg)$")
PHOTO, VALID = "rgb", "mask_valid"
DOMAINS = {"depth": "depth_zbuffer", "normals": "normal"}
UNITS, UNKNOWN = 512.0, 65535  # per metre
AXES = np.array([1.0, 1.0, -1.0], np.float32)


@dataclasses.dataclass(frozen=True)
class Taskonomy:
    """`source_id` is the path of the view without the names of domains, like `taskonomy/beechwood/point_0_view_0`."""

    root: str

    def find(self) -> Listing:
        """Lists all photos that have depth or normals.

        Raises:
          UserError: there is no such photo.
        """
        files.require_folder(self.root, "--root")
        account, items, present = Account(), on_disk.Items(), FolderFiles(self.root)
        tables = _tables(present)
        for view, name in tables[PHOTO].items():
            kinds = tuple(task for task, domain in DOMAINS.items() if view in tables[domain])
            path = os.path.join(self.root, name)
            for task in sorted(DOMAINS.keys() - set(kinds)):
                account.notes.add(f"{task}: no file for this image", path)
            if kinds:
                labels = [os.path.join(self.root, tables[DOMAINS[task]][view]) for task in kinds]
                items.append(Item(view, (path, *labels), kinds))
            else:
                account.dropped.add("image: no annotation", path)
        for task, domain in DOMAINS.items():
            for view, name in tables[domain].items():
                if view not in tables[PHOTO] and (task == "depth" or view not in tables[DOMAINS["depth"]]):
                    account.dropped.add("image: file is missing", f"{view} for {name}")
        present.note_unused(account, _kind_of)
        if not items:
            raise UserError(
                f"--root {self.root} has no photo with depth or normals, like rgb/point_0_view_0_domain_rgb.png and "
                "depth_zbuffer/point_0_view_0_domain_depth_zbuffer.png."
            )
        return Listing(items, {}, (), account, len(items) + account.dropped.count("image"))

    def load(self, item: Item, account: Account) -> Sample:
        """Reads the photo, its depth and its normals."""
        path, *others = item.files
        stored = pixels.upright(pixels.read_file(path), None, path, account)
        info, labelled = ImageInfo(item.source_id, stored.height, stored.width), {}
        for task, other in zip(item.labels, others, strict=True):
            try:
                array = maps.read_map(other, task)
                maps.require_size(array, info, task, other)
                key, made = ("metres", _depth(array, other)) if task == "depth" else ("normals", _normals(array, other))
                labelled[task] = Labelled({key: made}, f"real:{files.dataset(self.root)}")
                if task == "depth":
                    surface.note_reach(made, other, account)
            except Dropped as dropped:
                account.dropped.add(dropped.reason, dropped.example)
        found = {task: one.labels for task, one in labelled.items()}
        surface.note_contradictions(found, None, path, account)
        return Sample(stored.encoded, info, labelled, os.path.basename(path))


def _tables(present: FolderFiles) -> dict[str, on_disk.DiskTable[str]]:
    """Returns {domain: {view: name below the root}} of the domains that are read, whose files are then used."""
    tables = {}
    for domain in (PHOTO, *DOMAINS.values()):
        views = ((name, view) for name in present if (view := view_of(name)))
        tables[domain] = on_disk.DiskTable((view, name) for name, (view, own) in views if own == domain)
        for name in tables[domain].values():
            present.use(name)
    return tables


def _kind_of(name: str) -> str:
    view = view_of(name)
    if view is None:
        return files.kind_of(name)
    known = view[1] in (PHOTO, *DOMAINS.values())
    return "file: another one has this view and domain, not used" if known else f"file: domain {view[1]}, not used"


def view_of(name: str) -> tuple[str, str] | None:
    """Returns the view and the domain of a file; None for other files.

    The view is the path without the folders that are named after the domain.
    """
    folder, base = posixpath.split(name)
    match = NAME.match(base)
    if match is None:
        return None
    parts = folder.split("/")
    domain = VALID if VALID in parts else match["domain"]  # its files are called like those of the depth
    kept = [part.removesuffix(f"_{domain}") for part in parts if part != domain]
    return posixpath.join(*kept, match["view"]), domain


def _depth(units: np.ndarray, name: str) -> np.ndarray:
    if units.dtype != np.uint16 or units.ndim != 2:
        raise Dropped("depth: pixels of another format", f"{name}: {units.dtype} with {units.ndim} axes")
    return np.where(units == UNKNOWN, 0, units / np.float32(UNITS)).astype(np.float32)


def _normals(colours: np.ndarray, name: str) -> np.ndarray:
    if colours.dtype != np.uint8 or colours.ndim != 3:
        raise Dropped("normals: pixels of another format", f"{name}: {colours.dtype} with {colours.ndim} axes")
    vectors = (colours.astype(np.float32) / 127.5 - 1) * AXES
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    known = length[..., 0] >= SHORTEST
    if known.any() and (vectors[known][:, 2] > 0).mean() > 0.5:
        raise Dropped("normals: most of them face away from the camera, other axes", name)
    return np.where(known[..., None], vectors / np.maximum(length, SHORTEST), 0).astype(np.float32)
