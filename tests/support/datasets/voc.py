"""PASCAL VOC in small, in the published layout."""

from __future__ import annotations

from pathlib import Path

from tests.support.converting import noise, save

HEIGHT, WIDTH = 40, 60


def thing(name: str, box: tuple[object, ...], more: str = "<difficult>0</difficult>") -> str:
    """Makes an object element; the box is xmin, ymin, xmax, ymax as in VOC."""
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    inner = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return f"<object><name>{name}</name><pose>Unspecified</pose>{more}<bndbox>{inner}</bndbox></object>"


def annotation(*things: str, size: tuple[int, int] = (HEIGHT, WIDTH)) -> str:
    """An XML file."""
    sides = f"<width>{size[1]}</width><height>{size[0]}</height><depth>3</depth>"
    return f"<annotation><folder>VOC2012</folder><size>{sides}</size>{''.join(things)}</annotation>"


def write(root: Path, xmls: dict[str, str], listed: str = "") -> str:
    """VOC2012/ with a photo per XML, and the list of training images."""
    folder = root / "VOC2012"
    for seed, (name, xml) in enumerate(xmls.items()):
        save(folder / "JPEGImages" / f"{name}.jpg", noise(HEIGHT, WIDTH, seed))
        (folder / "Annotations").mkdir(exist_ok=True)
        (folder / "Annotations" / f"{name}.xml").write_text(xml)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "train.txt").write_text(listed or "".join(f"{name}\n" for name in xmls))
    return str(folder)
