"""Images in tar archives."""

from __future__ import annotations

import io
import tarfile
from typing import Literal

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
