"""The wheel contains all modules, tasks and templates; imports follow the rules of the project."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.session.forked_python import INTERPRETER
from tests.tools import release_check

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("must_tf", "tfrecords_tools")
SOURCES = ("setup.py", "pyproject.toml", "README.md", *PACKAGES)
# Runs in its own process and prints the origin of each module, and the discovered tasks.
IMPORT_ALL = """
import importlib, json, pkgutil, sys
origins = {}
for name in ("must_tf", "tfrecords_tools"):
    package = importlib.import_module(name)
    origins[name] = package.__file__
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            origins[module.name] = importlib.import_module(module.name).__file__
from must_tf.tasks import discover
from must_tf.experiments.experiment_config import experiments
from must_tf.shared import html_report
from tfrecords_tools.inspect import contact_page
report, sheet = html_report.Report("a"), contact_page.ContactPage("a", "b", "c", [], [])
pages = [html_report.render(report), contact_page.render(sheet)]
assert all("</html>" in page for page in pages)
print(json.dumps({"origins": origins, "tasks": sorted(discover()), "experiments": experiments()}))
"""


def python_files(*folders: str) -> list[Path]:
    """Returns all Python files below folders of the project."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def modules(source: Path) -> set[str]:
    """Returns the dotted names of all modules in a source tree, even if their folder is not a package."""
    files = [path.relative_to(source) for name in PACKAGES for path in (source / name).rglob("*.py")]
    dotted = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files}
    return {name for name in dotted if not name.endswith("__main__")}


def folders(source: Path) -> list[str]:
    """Returns the task folders of a source tree, even if they are not packages."""
    tasks = source / "must_tf" / "tasks"
    return sorted(path.name for path in tasks.iterdir() if path.is_dir() and list(path.glob("*.py")))


def data_files(root: Path) -> set[str]:
    """Returns the files of the packages that are not Python: templates, styles and scripts."""
    files = [path for name in PACKAGES for path in (root / name).rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix() for path in files if path.suffix not in (".py", ".pyc")}


def install(source: Path, target: Path) -> None:
    """Builds the wheel of a source tree and installs it, both offline."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = target.parent / "wheels"
    offline = ["--no-deps", "--no-index"]
    subprocess.run(
        [*pip, "wheel", *offline, "--no-build-isolation", "-w", str(wheels), str(source)], check=True, timeout=120
    )
    subprocess.run([*pip, "install", *offline, "--target", str(target), str(next(wheels.glob("*.whl")))], check=True)


def copied(folder: Path) -> Path:
    """Copies the project's sources without build products."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=ignored)
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy(path, folder / name)
    return folder


def test_every_module_and_task_of_the_wheel(tmp_path: Path) -> None:
    """The wheel is installed in another folder and everything is imported from there."""
    source, target = copied(tmp_path / "source"), tmp_path / "target"
    install(source, target)
    environment = os.environ | {"PYTHONPATH": str(target), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [*INTERPRETER, "-c", IMPORT_ALL], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["origins"]) == modules(source)
    assert data_files(target) == data_files(source) != set()
    assert all(Path(origin).is_relative_to(target) for origin in found["origins"].values())
    assert found["tasks"] == folders(source)
    assert {f"must_teacher_{task}" for task in folders(source)} < set(found["experiments"])


def test_a_task_folder_without_init_is_noticed(tmp_path: Path) -> None:
    """The planted bug: such a folder is in the source tree's list and vanishes from the wheel."""
    source, target = copied(tmp_path / "source"), tmp_path / "target"
    (source / "must_tf" / "tasks" / "depth" / "__init__.py").unlink()
    install(source, target)
    assert "depth" in folders(source)
    assert not (target / "must_tf" / "tasks" / "depth").exists()
    assert "must_tf.tasks.depth.loss" in modules(source)


def imports(path: Path) -> Iterator[str]:
    """Yields every module that a file imports, and `tf.keras` if it is used as an attribute."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and node.attr == "keras" and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.keras"


def below(name: str, packages: tuple[str, ...]) -> bool:
    """Returns True if a dotted name is one of these packages or inside one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


KERAS = ("keras", "tensorflow.keras", "tensorflow.python.keras", "tf.keras", "tensorflow_models")


@pytest.mark.parametrize("path", python_files(*PACKAGES, "experiments", "tests"), ids=lambda p: "/".join(p.parts[-3:]))
def test_only_tf_keras(path: Path) -> None:
    """Model Garden's layers are tf_keras's; a Keras 3 loss among them would be accepted silently."""
    assert not [name for name in imports(path) if below(name, KERAS)]


def test_the_scan_sees_every_way_to_import_keras(tmp_path: Path) -> None:
    """The planted bugs."""
    for line in ("import keras", "from keras import layers", "from tensorflow import keras", "x = tf.keras.layers"):
        (tmp_path / "a.py").write_text(line + "\n")
        assert [name for name in imports(tmp_path / "a.py") if below(name, KERAS)], line


def test_must_tf_knows_neither_tools_nor_experiments() -> None:
    """Experiments and tfrecords_tools use must_tf. Of must_tf, only `must run` uses tfrecords_tools."""
    above: tuple[str, ...] = ("tfrecords_tools", "experiments", "benchmarks", "tests")
    files = [path for path in python_files("must_tf") if ROOT / "must_tf" / "loop" not in path.parents]
    assert not [(path.name, name) for path in files for name in imports(path) if below(name, above)]
    above = ("experiments", "benchmarks", "tests")
    assert not [(p.name, name) for p in python_files("tfrecords_tools") for name in imports(p) if below(name, above)]


# Distributions with another name than their module. Model Garden's wheel contains orbit.
DISTRIBUTIONS = {
    "tensorflow_datasets": "tensorflow-datasets",
    "cv2": "opencv-python-headless",
    "faster_coco_eval": "faster-coco-eval",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "absl": "absl-py",
    "google": "protobuf",
    "official": "tf-models-official",
    "orbit": "tf-models-official",
    "tf_keras": "tf-keras",
    "ai_edge_litert": "ai-edge-litert",
}


# Extras: pip install must-tf[beam], must-tf[pretrained], must-tf[onnx], must-tf[serve]. supervision: for predictions.
# grpc: a client in the exports needs it.
SHOWS_LOGS = {"tensorboard"}  # no module of it is imported
SERVE = {"starlette", "uvicorn", "prometheus_client", "orjson"}
OPTIONAL = {
    "apache_beam",
    "distributed",
    "onnxruntime",
    "tf2onnx",
    "safetensors",
    "supervision",
    "grpc",
    "pillow_heif",
    *SERVE,
}


def test_what_is_imported_is_what_is_required() -> None:
    """setup.py requires exactly the distributions that the packages import, and constraints.txt pins them all."""
    required = requirements("BASE") | requirements("TRAIN")
    roots = {name.split(".")[0] for path in python_files(*PACKAGES) for name in imports(path) if name != "tf.keras"}
    foreign = roots - set(sys.stdlib_module_names) - {*PACKAGES, "None"}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign - OPTIONAL} | SHOWS_LOGS == required
    pinned = {
        line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split("\n")
    }
    assert required < pinned


def test_every_place_names_the_same_pythons() -> None:
    """Those that pip installs on, that `make` starts with and looks for, and that are tested and documented."""
    first, end = map(int, re.findall(r'python_requires=">=3\.(\d+),<3\.(\d+)"', (ROOT / "setup.py").read_text())[0])
    minors = range(first, end)
    makefile = (ROOT / "Makefile").read_text()
    assert f"(3, {first}) <= sys.version_info[:2] <= (3, {end - 1})" in makefile
    looked_for = re.findall(r"foreach v,(.+?),", makefile)[0].split()
    assert sorted(looked_for) == [f"3.{minor}" for minor in minors]
    assert [f"python3.{minor}" for minor in minors] == release_check.PYTHONS
    *others, last = sorted(looked_for)
    assert f"on Python {', '.join(others)} and {last} (" in (ROOT / "constraints.txt").read_text()
    for path in ("README.md", "docs/index.md", "Makefile"):
        assert f"Python {others[0]} to {last} " in (ROOT / path).read_text(), path


def test_the_release_check_sees_lines_of_other_packages() -> None:
    """Warnings of Python, and of the logs of absl and TensorFlow, among lines and a warning of our commands."""
    others = (
        "WARNING:tensorflow:5 out of the last 5 calls to <function run> triggered tf.function retracing.",
        "/lib/numpy/core.py:7: DeprecationWarning: use another name",
        "2026-11-29 21:13:49.742955: I external/cudart_stub.cc:31] Could not find cuda drivers on your machine",
        "E0000 00:00:1764450829.1 12 cuda_executor.cc:1228] INTERNAL: CUDA Runtime error",
        "W1129 21:13:49.7 12 context.cc:1] absl's own",
    )
    own = (
        "warning: ckpt-3 is damaged; using ckpt-2",
        "label 8/320 images · 0.6 images/s · 8:05 left",
        "  depth  delta1 0.8",
    )
    assert tuple(release_check.FOREIGN.findall("\n".join((*own, *others, *own)))) == others


def requirements(name: str) -> set[str]:
    """Returns the distributions in one of the lists at the top of setup.py."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    lists = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    return {re.split("[=<>]", line)[0] for line in ast.literal_eval(lists[name])}


def undocumented(node: ast.AST, prefix: str = "") -> Iterator[str]:
    """Yields public functions and classes without a docstring. Names inside functions are not public.

    The signatures of an overloaded function share its docstring.
    """
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or child.name.startswith("_"):
            continue
        if any(ast.unparse(decorator) == "overload" for decorator in child.decorator_list):
            continue
        if not ast.get_docstring(child):
            yield prefix + child.name
        if isinstance(child, ast.ClassDef):
            yield from undocumented(child, f"{prefix}{child.name}.")


def test_everything_public_has_a_docstring() -> None:
    """Modules, classes, functions and methods of the two packages and the experiments."""
    missing = []
    for path in python_files(*PACKAGES, "experiments"):
        tree = ast.parse(path.read_text())
        if tree.body and not ast.get_docstring(tree):
            missing.append(str(path))
        missing += [f"{path}: {name}" for name in undocumented(tree)]
    assert not missing
