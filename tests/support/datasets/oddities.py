"""Small datasets as annotation tools write them: with contradictions, or in other forms than the published ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.converting import CocoEntry, converted, dump, noise, save
from tests.support.datasets.exr_files import written
from tests.support.datasets.mg_records import boxes, record
from tests.support.datasets.voc import annotation, thing
from tfrecords_tools.convert.relabelled import relabelled
from tfrecords_tools.sources import Source
from tfrecords_tools.sources.cityscapes import Cityscapes
from tfrecords_tools.sources.classes import ClassFolders
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.imagenet import Imagenet
from tfrecords_tools.sources.published.mg import Mg
from tfrecords_tools.sources.rgbd import Rgbd
from tfrecords_tools.sources.rgbd_maps import MapOptions
from tfrecords_tools.sources.voc import Voc

HEIGHT, WIDTH = 48, 64
BOM = b"\xef\xbb\xbf"
CATS = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
BOX = [5, 6, 20, 10]  # x, y, width, height


def images(count: int, name: str = "{:03}.jpg", **more: Any) -> list[CocoEntry]:
    """Image entries with ids from 1; `more` is added to each."""
    size = {"height": HEIGHT, "width": WIDTH}
    return [{"id": n + 1, "file_name": name.format(n)} | size | more for n in range(count)]


def ann(image: Any, bbox: Any = None, category: Any = 1, **more: Any) -> CocoEntry:
    """An annotation with COCO's keys."""
    box = BOX if bbox is None else bbox
    return {"id": 1, "image_id": image, "category_id": category, "bbox": box, "segmentation": [], "iscrowd": 0} | more


def coco(
    folder: Path,
    entries: list[CocoEntry],
    annotations: list[CocoEntry],
    categories: list[CocoEntry] | None = None,
    files: Sequence[str] | None = None,
    **options: Any,
) -> Coco:
    """A JSON and its photos; `files` are their names on disk, by default as in the JSON."""
    names = dict.fromkeys(files or [entry["file_name"] for entry in entries])
    for seed, name in enumerate(names):
        save(folder / "img" / name, noise(HEIGHT, WIDTH, seed))
    content = {"images": entries, "annotations": annotations, "categories": categories or CATS}
    return Coco(str(folder / "img"), dump(folder / "a.json", content), **options)


def voc(
    folder: Path,
    names: Sequence[str] = ("000", "001"),
    cls: str = "cat",
    listed: str | None = "",
    flat: bool = False,
    **options: Any,
) -> Voc:
    """XML files with one box each; without a list if `listed` is None, beside the photos if `flat`."""
    photos, xmls = (folder, folder) if flat else (folder / "JPEGImages", folder / "Annotations")
    for seed, name in enumerate(names):
        save(photos / f"{name}.jpg", noise(HEIGHT, WIDTH, seed))
        xmls.mkdir(exist_ok=True, parents=True)
        xml = annotation(thing(cls, (6, 7, 25, 16)), size=(HEIGHT, WIDTH))
        (xmls / f"{name}.xml").write_bytes(xml.encode())
    if listed is not None and not flat:
        (folder / "ImageSets" / "Main").mkdir(parents=True)
        (folder / "ImageSets" / "Main" / "train.txt").write_text(listed or "".join(f"{name}\n" for name in names))
    return Voc(str(folder), **options)


def rgbd(folder: Path, kind: str, array: np.ndarray, ending: str = ".png", classes: str = "", **options: Any) -> Rgbd:
    """A photo with one label file."""
    save(folder / "rgb" / "a.png", noise(HEIGHT, WIDTH))
    path = folder / kind / f"a{ending}"
    path.parent.mkdir()
    if ending == ".npy":
        np.save(path, array)
    elif ending == ".exr":
        path.write_bytes(written({"Z": array}))
    else:
        save(path, array)
    if classes:
        (folder / "classes.txt").write_text(classes)
    return Rgbd(str(folder), options=MapOptions(**options))


def metres() -> np.ndarray:
    """Depth [h, w] from 2 to 20 metres."""
    return np.linspace(2, 20, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)


def colours(*colour: int) -> np.ndarray:
    """One colour [h, w, 3]."""
    return np.full([HEIGHT, WIDTH, 3], colour, np.uint8)


def two(**more: Any) -> Callable[[Path], Source]:
    """Two photos with an annotation each, which has also these keys."""
    return lambda folder: coco(folder, images(2), [ann(1, **more), ann(2, **more)])


def boxed(*bboxes: Sequence[float], **more: Any) -> Callable[[Path], Source]:
    """A photo with these boxes."""
    return lambda folder: coco(folder, images(1), [ann(1, list(bbox), **more) for bbox in bboxes])


def listed(*categories: dict[str, Any], used: Any = 1) -> Callable[[Path], Source]:
    """A photo with an annotation, and these categories."""
    return lambda folder: coco(folder, images(1), [ann(1, category=used)], list(categories))


def named(written: str, on_disk: str) -> Callable[[Path], Source]:
    """A photo that the JSON names otherwise."""
    return lambda folder: coco(folder, images(1, written), [ann(1)], files=[on_disk])


def lvis(folder: Path) -> Source:
    """Three classes; dogs were looked for, and some cats may be missing in the second photo."""
    entries = images(2, neg_category_ids=[2], not_exhaustive_category_ids=[])
    for entry in entries:
        entry["coco_url"] = f"http://images.org/val2017/{entry.pop('file_name')}"
    entries[1]["not_exhaustive_category_ids"] = [1]
    entries[1]["neg_category_ids"] = []
    return coco(folder, entries, [ann(1), ann(2)], [*CATS, {"id": 3, "name": "acorn"}], ["000.jpg", "001.jpg"])


def same_id(folder: Path) -> Source:
    """Ids that begin again at 1, as in two JSONs that were joined, and one that does not."""
    entries = images(5)
    for entry, number in zip(entries, (1, 2, 1, 2, 3), strict=True):
        entry["id"] = number
    return coco(folder, entries, [ann(1), ann(2), ann(1), ann(3)])


def all_same_id(folder: Path) -> Source:
    """Nothing is left."""
    entries = [entry | {"id": 1} for entry in images(2)]
    return coco(folder, entries, [ann(1)])


def per_box(folder: Path) -> Source:
    """An image entry for each box."""
    entries = [{"id": n, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH} for n in (1, 2, 3)]
    return coco(folder, entries, [ann(n, [n, n, 10, 10]) for n in (1, 2, 3)])


def class_names(data: bytes) -> Callable[[Path], Source]:
    """VOC with the names in a file of these bytes."""

    def make(folder: Path) -> Source:
        (folder / "names.txt").write_bytes(data)
        return voc(folder, cls="fox", classes=str(folder / "names.txt"))

    return make


def with_lines(text: bytes, **options: Any) -> Callable[[Path], Source]:
    """VOC with this list of images."""

    def make(folder: Path) -> Source:
        source = voc(folder, **options)
        (folder / "ImageSets" / "Main" / "train.txt").write_bytes(text)
        return source

    return make


def difficult(value: str) -> Callable[[Path], Source]:
    """VOC with this element."""

    def make(folder: Path) -> Source:
        source = voc(folder, names=("000",))
        path = folder / "Annotations" / "000.xml"
        path.write_text(path.read_text().replace("<difficult>0<", f"<difficult>{value}<"))
        return source

    return make


def declared(encoding: str) -> Callable[[Path], Source]:
    """VOC whose XML declares this encoding."""

    def make(folder: Path) -> Source:
        source = voc(folder, names=("000",))
        path = folder / "Annotations" / "000.xml"
        path.write_text(f'<?xml version="1.0" encoding="{encoding}"?>' + path.read_text())
        return source

    return make


def cvat(folder: Path) -> Source:
    """VOC as CVAT exports it: colours, and a table of them."""
    source = voc(folder, names=("000",))
    (folder / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:48,112,32::\n")
    for kind, colour in (("SegmentationClass", (48, 112, 32)), ("SegmentationObject", (128, 0, 0))):
        drawn = colours(0, 0, 0)
        drawn[6:16, 5:25] = colour
        save(folder / kind / "000.png", drawn)
    return source


def synsets(name: str, data: bytes) -> Callable[[Path], Source]:
    """ImageNet without folders, and labels of these bytes."""

    def make(folder: Path) -> Source:
        for seed in range(2):
            save(folder / "val" / f"v_{seed}.JPEG", noise(HEIGHT, WIDTH, seed))
        (folder / name).write_bytes(data)
        return Imagenet(str(folder / "val"), str(folder / name))

    return make


def endings(folder: Path) -> Source:
    """Class folders with photos of several endings, and other files."""
    for seed, name in enumerate(("cat/a.jfif", "cat/b.jpe", "dog/a.JPG", "dog/b.ppm", "dog/c.avif")):
        kind = {"ppm": "PPM", "avif": "AVIF"}.get(name[-4:].strip("."), "JPEG")
        save(folder / name, noise(HEIGHT, WIDTH, seed), format=kind)
    (folder / "dog" / "x.heic").write_bytes(b"not decoded")
    (folder / "dog" / "Thumbs.db").write_bytes(b"x")
    save(folder / "cat" / "deep" / "z.jpg", noise(HEIGHT, WIDTH))
    save(folder / "loose.jpg", noise(HEIGHT, WIDTH))
    return ClassFolders(str(folder))


def model_garden(text: str, names: str, ending: str = "pbtxt") -> Callable[[Path], Source]:
    """A record whose object is called `text`, and a file of names."""

    def make(folder: Path) -> Source:
        path = folder / f"names.{ending}"
        path.write_text(names)
        encoded = Path(save(folder / "a.png", noise(HEIGHT, WIDTH))).read_bytes()
        record(
            folder / "a.tfrecord",
            image__encoded=encoded,
            image__object__class__label=[3],
            image__object__class__text=[text.encode()],
            **boxes((6 / HEIGHT, 5 / WIDTH, 16 / HEIGHT, 25 / WIDTH)),
        )
        return Mg(str(folder / "a.tfrecord"), (("", str(path)),))

    return make


def train_ids(folder: Path) -> Source:
    """Cityscapes with train ids only."""
    stem = "train/town/town_000000_000000"
    save(folder / f"leftImg8bit/{stem}_leftImg8bit.png", noise(HEIGHT, WIDTH))
    ids = np.full([HEIGHT, WIDTH], 255, np.uint8)
    ids[20:40, 20:40] = 13
    save(folder / f"gtFine/{stem}_gtFine_labelTrainIds.png", ids)
    return Cityscapes(str(folder))


def depth16(per_metre: int, **options: Any) -> Callable[[Path], Source]:
    """16-bit depth from 2 to 20 m, its first row unknown."""
    values = np.rint(metres() * per_metre).clip(0, 65535).astype(np.uint16)
    if "depth_unknown" in options:
        values[:1] = 65535
    return lambda folder: rgbd(folder, "depth", values, **options)


def clocks(folder: Path, **options: Any) -> Source:
    """Photos and depth with the times of two clocks."""
    source = rgbd(folder, "depth", (metres() * 1000).astype(np.uint16), **options)
    (folder / "rgb" / "a.png").rename(folder / "rgb" / "1305031453.359684.png")
    (folder / "depth" / "a.png").rename(folder / "depth" / "1305031453.374112.png")
    return source


def binary(bits: bool = False, **options: Any) -> Callable[[Path], Source]:
    """A map of 0 and 255, or of one bit."""
    ids = np.zeros([HEIGHT, WIDTH], np.uint8)
    ids[10:30, 10:40] = 255

    def make(folder: Path) -> Source:
        source = rgbd(folder, "label", ids, classes="# ours\nbackground\npolyp\n", **options)
        if bits:
            Image.fromarray(ids > 0).save(folder / "label" / "a.png")
        return source

    return make


def normals(*colour: int, **options: Any) -> Callable[[Path], Source]:
    """Normals of one colour, below 8 rows in its first grey value."""
    drawn = colours(*colour)
    drawn[:8] = colour[0]
    return lambda folder: rgbd(folder, "normal", drawn, **options)


def wrong_size(folder: Path) -> Source:
    """VOC's XML with another width than the photo's."""
    source = voc(folder, names=("000",))
    path = folder / "Annotations" / "000.xml"
    path.write_text(path.read_text().replace(f"<width>{WIDTH}<", f"<width>{WIDTH + 2}<"))
    return source


def other_order(folder: Path) -> Source:
    """A dataset whose first class is a dog, with the classes of records whose first one is a cat."""
    converted(coco(folder / "train", images(1), [ann(1)]), folder / "records")
    source = coco(folder / "val", images(1), [ann(1)], [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}])
    return relabelled(source, f"{folder}/records/*.tfrecord", (), ())
