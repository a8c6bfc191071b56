"""Builds the sdist and, from it, the wheel, and tries the wheel as its users will: `make release-check`.

    python tests/tools/release_check.py [PYTHON ...]

For every Python that is named (by default those from 3.10 to 3.13 that are found), the wheel is installed into two
clean environments outside of the checkout, with all packages in their newest versions: one with the packages for
training, and one without. The first steps of the documentation run there. Prints one line per step. Exit code 1: a step
failed, or printed warnings of other packages; its output follows.

This program needs nothing but Python and a package index. It takes 3.5 GB in the folder for temporary files.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = [f"python3.{minor}" for minor in (10, 11, 12, 13)]
PLAN = """
out: loop
datasets:
  rooms: {format: scenes, domain: geometry, count: 8, seed: 1, validation: {count: 10, seed: 2}}
teachers: {all: {steps: 2}}
student: {steps: 2}
export: true
settings:
  task:
    input_size: 128
    model:
      backbone: {type: resnet, resnet: {model_id: 10, depth_multiplier: 0.25}}
      decoder: {type: fpn, fpn: {num_filters: 16}}
    tasks: {depth: {filters: 16}, normals: {filters: 16}}
    train_data: {global_batch_size: 2}
"""
PHOTO = "import os; from PIL import Image; os.mkdir('album'); Image.effect_noise((96, 64), 90).save('album/photo.png')"
RECORDS = "'records/*.tfrecord'"
TEACHERS = "--teacher depth=loop/student --teacher normals=loop/student"
# Lines that commands of this project do not print: Python's warnings, and those of the logs of absl and TensorFlow.
FOREIGN = re.compile(r"^(?:WARNING|INFO|ERROR):.*|^[IWEF]\d{4} .*|^\d{4}-\d\d-\d\d .*: [IWEF] .*|^.*Warning: .*", re.M)


class Step(NamedTuple):
    """A command, the exit code with which it must end, and a text that it must print."""

    command: str
    code: int = 0
    says: str = ""


# They run in one folder, with training installed first, because the export of one is what the other predicts with.
WITH_TRAINING = (
    Step("must --help", says="Usage: must COMMAND"),
    Step("must doctor", says="everything is fine"),
    Step(f'python -c "{PHOTO}"'),
    Step("must convert scenes --domain wild --count 8 --seed 1 --tasks all --out records"),
    Step(f"must check --records {RECORDS}"),
    Step(f"must inspect --records {RECORDS} --page page.html"),
    Step("must run plan.yaml --dry_run"),
    Step("must run plan.yaml"),
    Step("must predict --model loop/student --images album --out predictions"),
    Step("must convert images --root album --out plain"),
    Step(f"must label --records 'plain/*.tfrecord' {TEACHERS} --out labelled"),
    Step(f"must evaluate --records 'loop/records/rooms-val/*.tfrecord' {TEACHERS}"),
)
WITHOUT = (
    Step("must --help", says="Usage: must COMMAND"),
    Step("must doctor", says="everything is fine"),
    Step("must predict --model loop/export --images album --out light"),
    Step(
        "python -c \"import must_tf; print(must_tf.load('loop/export').predict('album/photo.png').depth.shape)\"",
        0,
        "(64, 96)",
    ),
    Step("must train --experiment=must_student --model_dir=run", 2, "pip install 'must-tf[train]'"),
    Step("must serve loop/export", 2, "pip install 'must-tf[serve]'"),
)


class Failed(Exception):
    """A step did not end as it must. The message is its output."""


def main(arguments: Sequence[str]) -> int:
    """Tries every Python. Returns the exit code."""
    pythons = list(arguments) or [name for name in PYTHONS if _works(name)]
    with tempfile.TemporaryDirectory(prefix="release-check-") as folder:
        try:
            wheel = build(sys.executable, Path(folder))
            for python in pythons:
                tried(python, wheel, Path(folder) / "tried")
        except Failed as failure:
            print(failure)
            return 1
    print(f"{len(pythons)} passed, 0 failed")
    return 0


def _works(python: str) -> bool:
    """Returns True if this is a command that starts: pyenv has one for every version, whether it can be used or not."""
    return bool(shutil.which(python)) and subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


def build(python: str, folder: Path) -> Path:
    """Builds the sdist and the wheel into a folder. Returns the path of the wheel."""
    source = folder / "source"  # of the files that git knows: what else lies in the checkout must not get in
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    environment = Environment(python, folder / "builder", folder)
    environment.run("build", Step("python -m pip install --quiet build"))
    environment.run("build", Step("python -m build --outdir dist source", says="Successfully built"))
    return next((folder / "dist").glob("*.whl"))


def tried(python: str, wheel: Path, folder: Path) -> None:
    """Runs all steps with one Python.

    Raises:
      Failed: a step did not end as it must.
    """
    folder.mkdir()
    (folder / "plan.yaml").write_text(PLAN)
    for extra, steps in (("[train]", WITH_TRAINING), ("", WITHOUT)):
        environment = Environment(python, folder / "environment", folder)
        newest = Step("python -m pip install --quiet --upgrade pip")  # that of Python 3.10 searches versions for hours
        for step in (newest, Step(f"python -m pip install --quiet '{wheel}{extra}'"), *steps):
            environment.run(f"{python} must-tf{extra}", step)
        shutil.rmtree(folder / "environment")
    shutil.rmtree(folder)


class Environment:
    """A new virtual environment, in which commands are run."""

    def __init__(self, python: str, path: Path, folder: Path):
        """Makes the environment at `path`. Its commands run in `folder`."""
        subprocess.run([python, "-m", "venv", str(path)], check=True)
        self._folder = folder
        # Nothing of the checkout or of another environment may be found.
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._environment["PATH"] = f"{path / 'bin'}{os.pathsep}{os.environ['PATH']}"

    def run(self, name: str, step: Step) -> None:
        """Runs a command and prints a line about it.

        Raises:
          Failed: it did not end as it must.
        """
        started = time.monotonic()
        done = subprocess.run(
            shlex.split(step.command),
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        foreign = FOREIGN.findall(done.stdout) if step.command.startswith("must ") else []
        fits = done.returncode == step.code and step.says in done.stdout and not foreign
        shown = " ".join(step.command.split())
        print(f"{'ok  ' if fits else 'FAIL'} {time.monotonic() - started:6.1f} s  {name}: {shown[:100]}", flush=True)
        if not fits:
            wanted = f"exit code {step.code}" + (f" and {step.says!r}" if step.says else "") + ", and no line of others"
            raise Failed(
                f"exit code {done.returncode}, lines of others: {foreign}; it must have {wanted}. Its output:\n"
                f"{done.stdout[-4000:]}"
            )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
