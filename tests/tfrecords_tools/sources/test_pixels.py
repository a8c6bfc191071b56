"""Image files in all formats: stored upright with 8 bits, or counted as dropped. Pixels by hand or by Pillow."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.support.converting import Converted, converted, dump
from tests.support.image_files import HEIGHT, JPEG_LEVELS, ORIENTATION, PHOTO, WIDTH, file, pillow
from tfrecords_tools.sources.coco.coco import Coco
from tfrecords_tools.sources.images import UnlabelledImages

GREY = PHOTO[..., 0]


def uniform(mode: str, colour: tuple[int, ...]) -> Image.Image:
    """An image of one colour."""
    return Image.new(mode, (WIDTH, HEIGHT), colour)


def palette() -> tuple[bytes, np.ndarray]:
    """A PNG with a palette, and its colours."""
    image = Image.fromarray(PHOTO).quantize(16)
    return file(image, "PNG"), np.asarray(image.convert("RGB"))


def flat(*colour: int) -> np.ndarray:
    """One colour as uint8 [h, w, 3]."""
    return np.full([HEIGHT, WIDTH, 3], colour, np.uint8)


def grey(values: np.ndarray) -> np.ndarray:
    """[h, w] -> [h, w, 3]."""
    return np.repeat(values[..., None], 3, axis=-1)


JPEG, PNG = file(PHOTO, "JPEG"), file(PHOTO, "PNG")
# name -> (file's name, its bytes, what it shows, whether its bytes stay)
STORED: dict[str, tuple[str, bytes, np.ndarray, bool]] = {
    "JPEG": ("a.jpg", JPEG, pillow(JPEG), True),
    "PNG": ("a.png", PNG, PHOTO, True),
    "PNG named jpg": ("a.jpg", PNG, PHOTO, True),
    "JPEG named PNG": ("a.PNG", JPEG, pillow(JPEG), True),
    "grey JPEG": ("a.jpg", file(GREY, "JPEG"), pillow(file(GREY, "JPEG")), True),
    "grey PNG": ("a.png", file(GREY, "PNG"), grey(GREY), True),
    "16-bit grey": ("a.png", file(GREY.astype(np.uint16) * 257, "PNG"), grey(GREY), False),  # 65535 = 255 * 257
    "palette": ("a.png", *palette(), False),
    "alpha, unseen": ("a.png", file(uniform("RGBA", (10, 20, 30, 0)), "PNG"), flat(255, 255, 255), False),
    "alpha, opaque": ("a.png", file(uniform("RGBA", (10, 20, 30, 255)), "PNG"), flat(10, 20, 30), False),
    # 51 / 255 = 1/5 of black over white
    "alpha, thin": ("a.png", file(uniform("RGBA", (0, 0, 0, 51)), "PNG"), flat(204, 204, 204), False),
    "grey and alpha": ("a.png", file(uniform("LA", (100, 255)), "PNG"), flat(100, 100, 100), False),
    "CMYK": ("a.jpg", file(uniform("CMYK", (255, 0, 0, 0)), "JPEG"), flat(0, 255, 255), False),
    "BMP": ("a.bmp", file(PHOTO, "BMP"), PHOTO, False),
    "TIFF": ("a.tif", file(PHOTO, "TIFF"), PHOTO, False),
    "one bit": ("a.png", file(Image.new("1", (WIDTH, HEIGHT), 1), "PNG"), flat(255, 255, 255), False),
}
EMPTY, DAMAGED = b"", "image: cannot be decoded"
LOST = {
    "truncated JPEG": ("a.jpg", JPEG[: len(JPEG) // 2]),
    "truncated PNG": ("a.png", PNG[: len(PNG) // 2]),
    "only a header": ("a.jpg", JPEG[:20]),
    "empty file": ("a.jpg", EMPTY),
    "text": ("a.jpg", b"404 Not Found"),
    "floats": ("a.tif", file(GREY.astype(np.float32), "TIFF")),
}


def convert_images(folder: Path, **contents: bytes) -> Converted:
    """Converts a folder with these files; the first underscore of a name stands for its dot."""
    (folder / "images").mkdir()
    for name, data in contents.items():
        (folder / "images" / name.replace("_", ".", 1)).write_bytes(data)
    return converted(UnlabelledImages(str(folder / "images")), folder / "out")


@pytest.mark.parametrize("name", STORED)
def test_pixels_come_back(name: str, tmp_path: Path) -> None:
    path, data, shown, stays = STORED[name]
    result = convert_images(tmp_path, **{path.replace(".", "_"): data})
    record = result.records["a"]
    np.testing.assert_allclose(record.image.astype(int), shown, atol=1 if name == "CMYK" else 0)
    assert (record.stored == data) == stays
    assert (record.labels, result.counts()) == ({}, {})


@pytest.mark.parametrize("name", LOST)
def test_a_damaged_image_is_counted_and_the_others_stay(name: str, tmp_path: Path) -> None:
    path, data = LOST[name]
    result = convert_images(tmp_path, **{path.replace(".", "_"): data, "b_png": PNG})
    assert (set(result.records), result.counts()) == ({"b"}, {DAMAGED: 1})
    assert result.outcome.image_drop_rate == 0.5
    (example,) = result.outcome.manifest.dropped[DAMAGED]["examples"]
    assert path in example and " at 0x" not in example  # two runs give one manifest


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_exif_is_applied_by_default(orientation: int, kind: str, tmp_path: Path) -> None:
    data = file(PHOTO, kind, orientation)
    record = convert_images(tmp_path, a_jpg=data).records["a"]
    shown = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    assert record.image.shape == shown.shape
    np.testing.assert_allclose(record.image.astype(int), shown, atol=0 if kind == "PNG" else JPEG_LEVELS)
    assert Image.open(io.BytesIO(record.stored)).getexif().get(ORIENTATION, 1) == 1


def coco(folder: Path, data: bytes, size: tuple[int, int] | None) -> Converted:
    """One image with a JSON that states this height and width."""
    (folder / "images").mkdir()
    (folder / "images" / "a.jpg").write_bytes(data)
    image = {"id": 1, "file_name": "a.jpg"} | (dict(zip(("height", "width"), size, strict=True)) if size else {})
    content = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
    return converted(Coco(str(folder / "images"), dump(folder / "a.json", content)), folder / "out")


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_heic_names_the_package_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    result = convert_images(tmp_path, a_heic=HEIC, b_png=PNG)
    assert (set(result.records), result.counts()) == ({"b"}, {DAMAGED: 1})
    (example,) = result.outcome.manifest.dropped[DAMAGED]["examples"]
    assert example == f"{tmp_path}/images/a.heic: HEIC needs a package: pip install pillow-heif"


def test_heic_is_read_if_its_package_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow uses the package only after its function was called. Here it adds a reader of PNGs behind HEIC's head."""
    monkeypatch.setattr(Image, "OPEN", Image.OPEN.copy())
    monkeypatch.setattr(Image, "ID", Image.ID.copy())

    def opened(file: IO[bytes], name: str | bytes) -> Any:
        return Image.fromarray(pillow(file.read()[len(HEIC) :]))

    package: Any = types.ModuleType("pillow_heif")
    package.register_heif_opener = lambda: Image.register_open("HEIF", opened, lambda head: b"ftyp" in head)
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    result = convert_images(tmp_path, a_heic=HEIC + PNG)
    assert result.counts() == {}
    np.testing.assert_array_equal(result.records["a"].image, PHOTO)


TURNED = (WIDTH, HEIGHT)
STORED_FRAME = (HEIGHT, WIDTH)
Shown = Callable[[np.ndarray], np.ndarray]
# name -> (EXIF orientation, the JSON's size, what becomes of the stored pixels). 6 is "turn clockwise", 3 half a turn.
FRAMES: dict[str, tuple[int, tuple[int, int] | None, Shown]] = {
    "labels on the stored pixels": (6, STORED_FRAME, lambda pixels: pixels),
    "labels on the turned pixels": (6, TURNED, lambda pixels: np.rot90(pixels, -1)),
    "labels on either, and there are none": (3, STORED_FRAME, lambda pixels: np.rot90(pixels, 2)),
    "no size": (6, None, lambda pixels: np.rot90(pixels, -1)),
}


@pytest.mark.parametrize("name", FRAMES)
def test_the_size_of_the_labels_decides_about_exif(name: str, tmp_path: Path) -> None:
    orientation, size, shown = FRAMES[name]
    data = file(PHOTO, "JPEG", orientation)
    record = coco(tmp_path, data, size).records["1"]
    wanted = shown(pillow(data))
    kept = np.array_equal(wanted, pillow(data))
    np.testing.assert_allclose(record.image.astype(int), wanted, atol=0 if kept else JPEG_LEVELS)
    assert Image.open(io.BytesIO(record.stored)).getexif().get(ORIENTATION, 1) == 1


def test_an_image_of_another_size_than_its_labels_is_counted(tmp_path: Path) -> None:
    result = coco(tmp_path, JPEG, (HEIGHT + 1, WIDTH))
    assert (result.records, result.counts()) == ({}, {"image: size differs from its labels'": 1})
