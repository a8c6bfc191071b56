"""Photos reach the network as a record would hold them, whatever kind of image is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.prediction import images
from tests.support.converting import converted
from tests.support.image_files import HEIGHT, JPEG_LEVELS, ORIENTATION, PHOTO, WIDTH, file, pillow
from tfrecords_tools.sources.images import UnlabelledImages

GREY16 = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 25
ALPHA = np.dstack([PHOTO, np.full([HEIGHT, WIDTH], 51, np.uint8)])  # a fifth of the colour, the rest white
FILES = {
    "upright.jpg": file(PHOTO, "JPEG"),
    "turned.jpg": file(PHOTO, "JPEG", 6),
    "mirrored.png": file(PHOTO, "PNG", 2),
    "alpha.png": file(Image.fromarray(ALPHA), "PNG"),
    "deep.png": file(Image.fromarray(GREY16), "PNG"),
    "palette.gif": file(Image.fromarray(PHOTO).quantize(16), "GIF"),
    "cmyk.jpg": file(Image.fromarray(PHOTO).convert("CMYK"), "JPEG"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, and a text file."""
    made = tmp_path_factory.mktemp("photos")
    for name, data in FILES.items():
        (made / name).write_bytes(data)
    (made / "notes.txt").write_text("no image")
    return made


def test_pictures_of_an_earlier_call_are_not_photos(folder: Path, tmp_path: Path) -> None:
    """A folder of predictions may lie among the photos."""
    for place in ("a.png", "b/a.png", "out/pictures/a.jpg", "out-of-town.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    found = images.find(str(tmp_path))
    assert found.outside(str(tmp_path / "out")).names == ["a.png", "b/a.png", "out-of-town.png"]
    with pytest.raises(UserError, match="all images are in .*Give another --out"):
        found.outside(str(tmp_path))


def test_a_file_is_what_training_would_see(folder: Path, tmp_path: Path) -> None:
    """Bit by bit the pixels that the input pipeline decodes from the record of `must convert images`."""
    records = converted(UnlabelledImages(str(folder)), tmp_path / "records").records
    for name in FILES:
        stored = record.decode_image(tf.constant(records[Path(name).stem].stored)).numpy()
        np.testing.assert_array_equal(images.read(folder / name).pixels, stored, err_msg=name)


@pytest.mark.parametrize(
    ("name", "expected", "levels"),
    [
        ("turned.jpg", np.rot90(pillow(FILES["turned.jpg"]), -1), JPEG_LEVELS),
        ("mirrored.png", PHOTO[:, ::-1], 0),
        ("alpha.png", PHOTO * 0.2 + 255 * 0.8, 1),
        ("deep.png", np.repeat(np.rint(GREY16 / 257)[..., None], 3, axis=-1), 0),
    ],
)
def test_orientation_transparency_and_depth_by_hand(folder: Path, name: str, expected: np.ndarray, levels: int) -> None:
    """Orientation 6 is a quarter turn to the right, 2 a mirror; 16 bits are divided by 257."""
    for given in (str(folder / name), FILES[name]):
        pixels = images.read(given).pixels
        assert pixels.dtype == np.uint8 and pixels.shape == expected.shape
        assert np.abs(pixels - expected.astype(np.float64)).max() <= levels


def turned() -> Image.Image:
    """A Pillow image with EXIF orientation 6."""
    image = Image.fromarray(PHOTO)
    image.getexif()[ORIENTATION] = 6
    return image


def turned_by_xmp() -> Image.Image:
    """A Pillow image of a file whose XMP has an orientation that its EXIF lacks. Files are not turned by it."""
    image = Image.fromarray(PHOTO)
    image.info["xmp"] = b'<rdf:Description tiff:Orientation="6"/>'
    assert image.getexif()[ORIENTATION] == 6
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (PHOTO, PHOTO),
        (PHOTO[..., 0], np.repeat(PHOTO[..., :1], 3, axis=-1)),
        (PHOTO[..., :1], np.repeat(PHOTO[..., :1], 3, axis=-1)),
        (ALPHA, np.rint(PHOTO * 0.2 + 255 * 0.8)),
        (Image.fromarray(PHOTO), PHOTO),
        (turned(), np.rot90(PHOTO, -1)),
        (turned_by_xmp(), PHOTO),
    ],
    ids=["rgb", "grey", "one channel", "rgba", "pillow", "pillow turned", "turned by XMP"],
)
def test_arrays_and_pillow_images(image: Any, expected: np.ndarray) -> None:
    photo = images.read(image, 3)
    assert photo.name == "image 3"
    assert np.abs(photo.pixels - expected.astype(np.float64)).max() <= 1


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros([4, 4, 3]), r"image 0: an array must be uint8 .*, not float64 \[4, 4, 3\]"),
        (np.zeros([2, 4, 4, 3], np.uint8), r"not uint8 \[2, 4, 4, 3\]"),
        (np.zeros([0, 4, 3], np.uint8), r"not uint8 \[0, 4, 3\]"),
        (7, "an image must be a path, .*, not int"),
        (b"no image", r"image 0: cannot be decoded .cannot identify image file.\. Give a JPEG"),
        ("nowhere.jpg", "nowhere.jpg does not exist"),
    ],
)
def test_what_is_not_an_image_is_refused(image: Any, message: str) -> None:
    with pytest.raises(images.ImageError, match=message):
        images.read(image)


def test_a_truncated_photo_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    path.write_bytes(FILES["upright.jpg"][:-100])
    with pytest.raises(images.ImageError, match="half.jpg"):
        images.read(path)


def test_a_folder_is_not_a_photo(folder: Path) -> None:
    with pytest.raises(images.ImageError, match="is a folder. Use `predict_each`"):
        images.read(folder)


def frames(root: Path) -> Path:
    """A folder with frames in two folders, a hidden file and a text file."""
    for name in ("b/2.png", "b/10.png", "a/1.JPG", ".hidden.png", "a/readme.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES["upright.jpg"])
    return root


@pytest.mark.parametrize(
    ("pattern", "root", "names"),
    [
        ("", "", ["a/1.JPG", "b/10.png", "b/2.png"]),
        ("/*/*", "", ["a/1.JPG", "b/10.png", "b/2.png"]),
        ("/b/*.png", "/b", ["10.png", "2.png"]),
        ("/b/2.png", "/b", ["2.png"]),
    ],
)
def test_photos_are_found_sorted_by_name(tmp_path: Path, pattern: str, root: str, names: list[str]) -> None:
    """Names are relative to the folder before the first wildcard, so that new photos change no other's name."""
    found = images.find(f"{frames(tmp_path)}{pattern}")
    assert (found.root, found.names) == (f"{tmp_path}{root}", names)
    assert all(Path(path).exists() for path in found.paths())


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("/bb", "Did you mean '.*/b'"), ("/*.webp", "Supported suffixes"), ("/x/*.png", "no image")],
)
def test_nothing_found_is_reported(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        images.find(f"{frames(tmp_path)}{pattern}")


def test_a_photo_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths stay relative."""
    monkeypatch.chdir(frames(tmp_path))
    assert images.find("b/*.png").paths() == ["b/10.png", "b/2.png"]
    (tmp_path / "c.png").write_bytes(FILES["upright.jpg"])
    assert images.find("*.png").paths() == ["c.png"] == images.find("c.png").paths()
