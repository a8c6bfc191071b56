"""Images in tar archives, ImageNet's validation images, and pickles of CIFAR-100, as published."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from tests.support.converting import noise


def encoded(seed: int, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    """Returns an encoded image."""
    file = io.BytesIO()
    Image.fromarray(noise(20, 30, seed)).convert(mode).save(file, kind)
    return file.getvalue()


def packed(members: dict[str, bytes], mode: Literal["w", "w:gz", "w:bz2", "w:xz"] = "w") -> bytes:
    """Returns a tar archive of these files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


TENCH, SHARK, WALL = "n01440764", "n01484850", "n03000134"
IMAGES = {f"{SHARK}_1.JPEG": encoded(1), f"{TENCH}_2.JPEG": encoded(2), f"{TENCH}_10.JPEG": encoded(3)}


def flat(root: Path) -> str:
    """Writes validation images as published: without folders, with ordered names."""
    for number, data in enumerate(IMAGES.values(), 1):
        (root / "val").mkdir(exist_ok=True)
        (root / "val" / f"ILSVRC2012_val_{number:08}.JPEG").write_bytes(data)
    return str(root / "val")


def text(value: str) -> bytes:
    """Pickles a str of Python 2."""
    return (
        b"U" + bytes([len(value)]) + value.encode()
        if len(value) < 256
        else b"T" + struct.pack("<I", len(value)) + value.encode()
    )


def array(values: np.ndarray) -> bytes:
    """Pickles a uint8 matrix like Python 2's NumPy (protocol 2): _reconstruct, then its state."""
    shape = b"".join(b"J" + struct.pack("<i", side) for side in values.shape)
    dtype = (
        b"cnumpy\ndtype\n"
        + text("u1")
        + b"K\x00K\x01\x87R(K\x03"
        + text("|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    data = b"T" + struct.pack("<I", values.size) + values.tobytes()
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text("b") + b"\x87R"
    return made + b"(K\x01" + shape + b"\x86" + dtype + b"\x89" + data + b"tb"


def listed(values: list[bytes]) -> bytes:
    """Pickles a list of pickled values."""
    return b"](" + b"".join(values) + b"e"


def python2(**content: bytes) -> bytes:
    """Pickles a dict like Python 2, as in the published CIFAR-100."""
    return b"\x80\x02}(" + b"".join(text(key) + value for key, value in content.items()) + b"u."


PIXELS = np.random.default_rng(0).integers(0, 256, [3, 3072], dtype=np.uint8)


def cifar(root: Path) -> str:
    """Writes cifar-100-python/ with three images."""
    folder = root / "cifar-100-python"
    folder.mkdir()
    names = listed([text(name) for name in ("bos_s_000507.png", "b_s_1.png", "bos_s_000507.png")])
    fine, coarse = listed([b"K\x02", b"K\x00", b"K\x01"]), listed([b"K\x00"] * 3)
    content = {"filenames": names, "fine_labels": fine, "coarse_labels": coarse, "data": array(PIXELS)}
    (folder / "train").write_bytes(python2(**content, batch_label=text("training batch 1 of 1")))
    (folder / "meta").write_bytes(python2(fine_label_names=listed([text(name) for name in ("apple", "bear", "bee")])))
    return str(folder)


LABELS = {
    "one per line": f"{SHARK}\n{TENCH}\n{TENCH}\n",
    "names in another order": f"ILSVRC2012_val_00000003.JPEG {TENCH}\nILSVRC2012_val_00000001 {SHARK}\n"
    f"ILSVRC2012_val_00000002 {TENCH}\n",
    "kaggle, a file missing": f"ImageId,PredictionString\nILSVRC2012_val_00000001,{SHARK} 1 2 3 4 {TENCH} 5 6 7 8\n"
    f"ILSVRC2012_val_00000002,{TENCH} 1 2 3 4\nILSVRC2012_val_00000003,{TENCH} 1 2 3 4\n"
    f"ILSVRC2012_val_00000004,{TENCH} 1 2 3 4\n",
}
