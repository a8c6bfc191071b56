"""The notebooks in docs/ run from top to bottom, on a tiny model and a few small photos."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.looping import call
from tests.support.predicting import images
from tests.support.session.graphs import eager_functions, eagerly
from tests.support.tiny import ROOT, Tiny, image_bytes

NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
COMMAND = re.compile(r"^!(.+)$", re.M)


def cells(path: Path, kind: str) -> list[str]:
    """Returns the text of all cells of a kind."""
    content = json.loads(path.read_text())
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def shell(command: str, values: dict[str, Any]) -> int:
    """Runs a line that begins with "!", as Jupyter does: {NAME} is the value of a variable."""
    filled = re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), command)
    program, *arguments = shlex.split(filled)
    assert program == "must"
    with eagerly(), eager_functions():
        return call(arguments)


def executed(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Runs all code cells in one namespace and returns it. `settings` replace the values of the first cell."""
    values: dict[str, Any] = {"__name__": "__main__", "_shell": lambda command: codes.append(shell(command, values))}
    codes: list[int] = []
    for number, cell in enumerate(cells(path, "code")):
        exec(compile(COMMAND.sub(lambda match: f"_shell({match[1]!r})", cell), f"{path.name}:{number}", "exec"), values)
        if number == 0:
            assert set(settings) <= set(values)
            values |= settings
    assert not any(codes), codes
    return values


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a run and photos, where the notebooks expect them."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    for name in ("student", "teacher"):
        Path("runs", name).symlink_to(tiny.run)
    Path("photos").mkdir()
    for number, image in enumerate(images()):
        Path("photos", f"{number}.png").write_bytes(image_bytes(image))
    return tmp_path


def test_predict_and_draw(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = executed(ROOT / "docs" / "predict.ipynb", {})
    assert len(values["paths"]) == len(images()) and values["errors"] == []
    np.testing.assert_array_equal(values["result"].image, images()[-1])
    with Image.open(folder / "predicted.png") as picture:
        assert picture.size[0] > 1000
    printed = capsys.readouterr().out
    assert "nearest pixel" in printed and "0 photos could not be read" in printed


def test_label_and_train(folder: Path) -> None:
    """Every command ends with code 0, and the new model predicts."""
    small = {"SIZE": 128, "STEPS": 2, "TASK": "normals"}
    values = executed(ROOT / "docs" / "label_and_train.ipynb", small)
    assert values["model"].step == 2 and values["model"].tasks == ("normals",)
    assert values["result"].normals.shape == images()[0].shape
    assert (folder / "labels.html").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    """Outputs would change with every run, and hold paths of the machine."""
    content = json.loads(path.read_text())
    assert (content["nbformat"], len(content["cells"]) > 5) == (4, True)
    for cell in content["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)
    page = (ROOT / "docs" / "predict.md").read_text()
    assert f"]({path.name})" in page


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_links_of_a_notebook_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", "\n".join(cells(path, "markdown"))):
        assert (ROOT / "docs" / link.partition("#")[0]).exists(), link
