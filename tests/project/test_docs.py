"""README, CONTRIBUTING and docs/: links are valid, and all names in them exist."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from PIL import Image

from experiments.readme_picture import CAPTION
from must_tf.cli.doctor import DoctorFlags
from must_tf.cli.flags import ExportFlags, PredictFlags, ServeFlags, TrainFlags
from must_tf.config import values as config_values
from must_tf.experiments import experiment_config
from must_tf.loop.command import RunFlags
from must_tf.runs import start
from must_tf.tasks import discover
from must_tf.transfers.command import TransferFlags
from tests.support.rooms import ROOMS
from tfrecords_tools.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
LONGEST_README = 150  # lines
LARGEST_PICTURE = 400_000  # bytes
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.M)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.M)
INLINE = re.compile(r"`([^`]+)`")
FLAG = re.compile(r"(?<![\w-])(--[a-z][\w-]*)")
# Folders whose files a page may name, and the placeholders for any name in such a path.
FOLDERS = ("must_tf/", "tfrecords_tools/", "experiments/", "benchmarks/", "tests/", "docs/")
PLACEHOLDER = re.compile(r"<\w+>")
# Flags of the other commands than must-records.
FLAGS = {
    "must-train": TrainFlags,
    "must-export": ExportFlags,
    "must-predict": PredictFlags,
    "must-serve": ServeFlags,
    "must-run": RunFlags,
    "must-transfer": TransferFlags,
    "must-doctor": DoctorFlags,
}

of_every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page: Path) -> str:
    """Returns a page without its code blocks."""
    return INDENTED.sub("\n", FENCE.sub("", page.read_text()))


def blocks(page: Path) -> list[str]:
    """Returns the code blocks of a page."""
    text = page.read_text()
    return [block[0] for pattern in (FENCE, INDENTED) for block in pattern.finditer(text)]


def code(page: Path) -> list[str]:
    """Returns all code of a page: its code blocks, and the text between backticks."""
    return [*blocks(page), *INLINE.findall(prose(page))]


def anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's headings."""
    titles = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def commands(page: Path) -> Iterator[str]:
    """Returns the shell commands in a page's code blocks, one per line, without comments and quoted arguments."""
    for block in blocks(page):
        for line in block.replace("\\\n", " ").splitlines():
            yield re.sub(r"'[^']*'|\s#.*", "", line).strip().removeprefix("# ")


def records_flags() -> dict[str, set[str]]:
    """Returns the flags of each must-records command; the keys are like "convert coco"."""
    found: dict[str, set[str]] = {}

    def walk(command: Any, words: str) -> None:
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                walk(inner, f"{words} {name}".strip())
        else:
            found[words] = {option for parameter in command.params for option in parameter.opts}

    walk(typer.main.get_command(app), "")
    return found


def declared(command: str) -> set[str]:
    """Returns the flags of a command with typed flags."""
    return {f"--{field.name}" for field in dataclasses.fields(FLAGS[command])}


@of_every_page
def test_links_lead_to_files_and_headings(page: Path) -> None:
    """Pages in docs/ link only to each other, because the site has no other pages."""
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
        assert page.parent != ROOT / "docs" or target.is_relative_to(ROOT / "docs"), link


@of_every_page
def test_named_files_and_modules_exist(page: Path) -> None:
    """`<task>` in a path stands for any name."""
    for text in INLINE.findall(prose(page)):
        path = PLACEHOLDER.sub("*", text.partition("::")[0])
        if path.startswith(FOLDERS) and " " not in path:
            assert list(ROOT.glob(path.rstrip("/"))), text
    for text in code(page):
        for module in re.findall(r"python -m\s+((?:must_tf|tfrecords_tools|experiments|tests)[\w.]*)", text):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@of_every_page
def test_named_settings_occur_in_the_code(page: Path) -> None:
    """Checks words like `score_threshold`, on their own or as the last part of a key."""
    sources = [path for folder in FOLDERS[:5] for path in (ROOT / folder).rglob("*.py")]
    words = set().union(*(re.findall(r"\w+", path.read_text()) for path in sources))
    for text in INLINE.findall(prose(page)):
        key = re.fullmatch(r"(?:[a-z_]+\.)*([a-z]+(?:_[a-z0-9]+)+)(?:=\w+)?", text)
        assert key is None or key[1] in words, text


@of_every_page
def test_make_targets_and_variables_exist(page: Path) -> None:
    """Checks targets and variables, as in `make bench ROWS=input`."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][\w-]*):", makefile, re.M))
    for text in code(page):
        for target, variables in re.findall(r"\bmake ([a-z][\w-]*)((?: [A-Z]+=\S*)*)", text):
            assert target in targets, text
            for name in re.findall(r"([A-Z]+)=", variables):
                assert f"$({name})" in makefile, text


@of_every_page
def test_commands_take_the_flags_that_are_shown(page: Path) -> None:
    """Checks flags in code blocks against their command."""
    records = records_flags()
    for line in commands(page):
        name, _, rest = line.partition(" ")
        if name == "must":  # `must train` is must-train; the commands on records are those of must-records
            word = rest.partition(" ")[0]
            name, rest = (f"must-{word}", rest[len(word) :]) if f"must-{word}" in FLAGS else ("must-records", rest)
        shown = set(FLAG.findall(rest))
        if name == "must-records":
            words = " ".join(itertools.takewhile(lambda word: re.fullmatch(r"\w[\w-]*", word), rest.split()))
            assert words in records, line
            assert shown <= records[words], line
        elif name in FLAGS:
            assert shown <= declared(name), line


@of_every_page
def test_flags_in_the_text_exist(page: Path) -> None:
    """Checks other flags against all commands of this project."""
    known = {"--help"}.union(*records_flags().values(), *map(declared, FLAGS))
    for program in ("experiments/readme_picture.py", "tests/tools/planted_bugs.py"):
        known |= set(re.findall(r'"(--[a-z][\w-]*)"', (ROOT / program).read_text()))
    for text in INLINE.findall(prose(page)):
        if text.startswith(("--", "must-")):
            assert set(FLAG.findall(text)) <= known, text


@of_every_page
def test_experiments_exist(page: Path) -> None:
    """Checks the names for --experiment."""
    known = experiment_config.experiments()
    for name in re.findall(r"\bmust_(?:student|teacher_\w+|transfer_\w+)\b", "\n".join(code(page))):
        assert name in known, name


def test_the_map_is_in_the_order_of_the_rooms() -> None:
    """The tables of CONTRIBUTING.md, row by row."""
    rooms = [room.split(".")[1] for room in ROOMS if room.count(".") == 1 and "__main__" not in room]
    mapped = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", README.with_name("CONTRIBUTING.md").read_text(), re.M)
    assert [name for name in mapped if name in rooms] == rooms


def test_the_example_configs_are_valid(tmp_path: Path) -> None:
    """The YAML of docs/training.md, key by key: a student, and a start from trained weights."""
    examples = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "training.md").read_text(), re.M | re.S)
    path = tmp_path / "example.yaml"
    for example in examples:
        path.write_text(example)
        params = experiment_config.load("must_student", [str(path)])
        for key, value in config_values.flat(yaml.safe_load(example)).items():
            assert config_values.flat(params.as_dict())[key] == value
    assert yaml.safe_load(examples[1]) == start.settings("efficientnet-lite0")


def test_thresholds_have_the_defaults_that_are_stated() -> None:
    """The table of docs/labelling.md."""
    page = (ROOT / "docs" / "labelling.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \(([\w, ]+)\) \| (\S+) \|", page, re.M)
    assert len(rows) > 5
    for name, tasks, default in rows:
        for task in tasks.split(", "):
            assert getattr(discover()[task].Config(), name) == float(default), (task, name)


def test_the_readme_is_short_and_lists_its_sections() -> None:
    """All sections except the table of contents itself."""
    text = README.read_text()
    assert len(text.splitlines()) <= LONGEST_README
    sections = [f"#{anchor}" for anchor in anchors(README) - {"must_tf", "contents"}]
    assert set(sections) == {link for link in LINK.findall(text) if link.startswith("#")}


def test_the_readme_says_what_its_picture_shows() -> None:
    """The picture's metadata states whether it shows labels or predictions."""
    path = ROOT / "docs" / "images" / "six_tasks.png"
    assert path.stat().st_size < LARGEST_PICTURE
    with Image.open(path) as picture:
        shows_labels = picture.info[CAPTION].startswith("Labels")
    first_screen = README.read_text().partition("## ")[0]
    assert "docs/images/six_tasks.png" in first_screen
    assert shows_labels == ("the scene's labels, not a model's predictions" in first_screen)
    assert shows_labels or "predictions" in first_screen
