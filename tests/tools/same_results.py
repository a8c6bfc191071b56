"""Runs the documented commands, records their results as values and hashes, and compares two such records.

    python tests/tools/same_results.py RUN_DIR [--checkout DIR]                # writes RUN_DIR/results.json
    python tests/tools/same_results.py --compare A/results.json B/results.json # exit code 1 if anything differs

Use it to check that a change does not alter results. Make both records on one machine, because the last bits depend on
the processor and the number of threads. Each command runs the checkout's code in its own process, with relative paths
in RUN_DIR/work. Then every file there is read. This program imports nothing of the project.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import yaml

PACKAGES = ("must_tf", "tfrecords_tools")  # must be imported from the checkout
CONFIG = """
task:
  input_size: 128
  pictures: 1
  model:
    backbone: {type: resnet, resnet: {model_id: 10, depth_multiplier: 0.25}}
    decoder: {type: fpn, fpn: {num_filters: 16}}
    norm_activation: {norm_momentum: 0.5, use_sync_bn: false}
  tasks:
    detection: {filters: 16, fc: 16, proposals: 20, sampled_rois: 8, max_objects: 8, max_detections: 6}
    masks: {filters: 16, sampled_rois: 4, target_side: 28, max_objects: 8}
    segmentation: {filters: 16, stride: 4}
    depth: {filters: 16, stride: 4}
    normals: {filters: 16, stride: 4}
  train_data: {global_batch_size: 2, seed: 1}
  validation_data: {global_batch_size: 2, input_path: 'records/heldout/*.tfrecord'}
trainer:
  train_steps: 8
  steps_per_loop: 1
  summary_interval: 1
  checkpoint_interval: 8
  validation_interval: 8
  optimizer_config:
    learning_rate: {type: cosine, cosine: {initial_learning_rate: 0.01, decay_steps: 16}}
    warmup: {type: linear, linear: {warmup_steps: 1}}
runtime: {distribution_strategy: one_device}
"""
# The student uses other settings than the teacher, to cover both.
STUDENT = """
task:
  balance: learned
  init_checkpoint: runs/teacher
  tasks:
    classification: {label_smoothing: 0.1, pseudo_weight: 0.5}
    detection: {design: retinanet, score_threshold: 0.2, pseudo_ramp_steps: 4}
    masks: {score_threshold: 0.2, mask_score_threshold: 0.1}
    segmentation: {confidence_threshold: 0.15, ignore_hardest: 0.1}
    depth: {loss: berhu, alignment: median}
trainer: {optimizer_config: {optimizer: {type: adamw, adamw: {weight_decay_rate: 0.0001}}}}
"""
TRANSFER = "task: {init_checkpoint: runs/teacher}"
SETS = {  # generated scenes; `truth` and `unlabelled` have the same images, and so have `objects` and `surfaces`
    "unlabelled": "--domain wild --count 24 --seed 4 --tasks none --shards 3",
    "truth": "--domain wild --count 24 --seed 4 --tasks all",
    "labelled": "--domain wild --count 12 --seed 1 --tasks all --shards 2",
    "heldout": "--domain wild --count 6 --seed 2 --tasks all",
    "objects": "--domain wild --count 6 --seed 3 --tasks detection,masks",
    "surfaces": "--domain wild --count 6 --seed 3 --tasks segmentation,depth,normals",
    "rooms": "--domain classification --count 6 --seed 1 --size 160",
    "dusk": "--domain transfer --count 6 --seed 2 --size 96",
}
NUMERIC = ("TF_", "XLA_", "OMP_", "MKL_", "OPENBLAS_", "DNNL_", "ONEDNN_")  # prefixes of environment variables
FINDS = ("check", "stats", "export-coco")  # commands that end with exit code 1 if they have findings

OMITTED = (
    "versions",  # manifest.json: versions of the installed packages
    "time",  # manifest.json: when labelling began
    "seconds",  # --json: duration of the command
    "images_per_second",  # metrics.jsonl and TensorBoard: speed
    "steps_per_second",  # TensorBoard: speed
    "input_wait",  # metrics.jsonl and TensorBoard: a share of the time
)
UNREAD = (
    "*.log",  # stderr: progress, with times
    "settings/*",  # written by this program
    "*/.shards/*",  # state from which an interrupted command resumes
    "*/checkpoint",  # times of the checkpoints; their names are compared
    "*.data-?????-of-?????",  # variables of a checkpoint, which are read through its .index
    "export/*.pb",  # the graph: function numbers vary; its outputs are compared
    "export/variables/*",  # named by the graph
)
HASHED = (
    "coco/*",  # another tool's format: every byte counts
    "*/best/*",  # copies of files that are compared in full
)
READERS: dict[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".jsonl": lambda text: [json.loads(line) for line in text.splitlines()],
    ".yaml": yaml.safe_load,
    ".txt": str.splitlines,
}
EVENTS = re.compile(r"events\.out\.tfevents\..*\.(\d+)\.v2")  # time, host and process in the name are left out


def commands() -> list[dict[str, str]]:
    """Returns all commands by name, in groups. Commands of a group are independent of each other."""
    judged = "--truth 'records/truth/*.tfrecord' --against 'detection=records/labelled/*.tfrecord' --precision 0.3"
    return [
        {f"convert-{name}": f"records convert scenes {options} --out records/{name}" for name, options in SETS.items()},
        {"train-teacher": train("student", "teacher", "labelled", "objects", "rooms", "dusk")}
        | {"merge-tasks": f"records merge {read('objects')} {read('surfaces')} --out records/joined"}
        | inspections("labelled")
        | inspections("objects"),
        {"label-by-run": label("unlabelled", "runs/teacher", "pseudo")}
        | {"export": "export.py --model_dir=runs/teacher --out=export"},
        {"train-student": train("student", "student", "pseudo", "surfaces", "labelled")}
        | {"label-by-export": label("surfaces", "export", "completed")}
        | {"served": f"{shlex.quote(os.path.abspath(__file__))} --serve export 'records/unlabelled/*.tfrecord'"}
        | {"train-transfer": train("transfer_normals", "transfer", "dusk")},
        {"stats": f"records stats {read('pseudo')} {judged} --force"}
        | {"merge-classes": f"records merge {read('dusk')} {read('completed')} --same cone=box --out records/union"},
        inspections("pseudo", "least-confident")
        | inspections("union")
        | {"check-joined": f"records check {read('joined')}"},
    ]


def read(name: str) -> str:
    """Returns the option that names a record set."""
    return f"--records 'records/{name}/*.tfrecord'"


def inspections(name: str, pick: str = "even") -> dict[str, str]:
    """Returns the commands that inspect a record set."""
    return {
        f"check-{name}": f"records check {read(name)}",
        f"inspect-{name}": f"records inspect {read(name)} --page pages/{name}.html --pick {pick} --images 4",
        f"export-coco-{name}": f"records export-coco {read(name)} --out coco/{name} --images --least-score 0.15",
    }


def label(name: str, teacher: str, out: str) -> str:
    """Returns the command that labels a record set. --force, because the gate may refuse a barely trained teacher."""
    tasks = ("classification", "detection", "masks", "segmentation", "depth", "normals")
    options = " ".join(f"--teacher {task}={teacher}" for task in tasks)
    return f"records label {read(name)} {options} --out records/{out} --force"


def train(experiment: str, name: str, *sets: str) -> str:
    """Returns the command that trains on record sets."""
    paths = ", ".join(f"records/{dataset}/*.tfrecord" for dataset in sets)
    override = f"--params_override='task: {{train_data: {{input_path: [{paths}]}}}}'"
    files = f"--config_file=settings/all.yaml --config_file=settings/{name}.yaml"
    return f"train.py --experiment=must_{experiment} --mode=train_and_eval --model_dir=runs/{name} {files} {override}"


def environment(checkout: Path) -> dict[str, str]:
    """Returns the environment of each process: the checkout's code, the CPU, no numeric settings of the caller."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(NUMERIC)}
    return kept | {"PYTHONPATH": str(checkout), "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}


def check_imports(checkout: Path, work: Path) -> None:
    """Exits with an error if the packages would not be imported from the checkout."""
    code = f"import importlib.util as u; print(*(u.find_spec(name).origin for name in {PACKAGES}), sep='\\n')"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=work, env=environment(checkout), check=True, capture_output=True, text=True)
    for path in done.stdout.splitlines():
        if not Path(path).resolve().is_relative_to(checkout):
            sys.exit(f"error: Python would import {path}, which is not in {checkout}.")


def run(name: str, command: str, checkout: Path, work: Path) -> int:
    """Runs a command and returns its exit code. Exits with an error if the command fails."""
    start = time.monotonic()
    arguments = argument_list(command, checkout)
    prints_json = "--json" in arguments or "--serve" in arguments
    printed = work / "printed" / f"{name}.{'json' if prints_json else 'txt'}"
    log = work / f"{name}.log"
    with open(log, "wb") as errors, open(printed, "wb") as output:
        code = subprocess.run(arguments, cwd=work, env=environment(checkout), stdout=output, stderr=errors).returncode
    print(f"{name}: exit code {code}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    # A traceback has exit code 1 too, but prints no JSON.
    has_findings = code == 1 and any(word in arguments for word in FINDS) and printed.stat().st_size > 0
    if code and not has_findings:
        raise SystemExit(f"error: {name} failed. Its last lines:\n{log.read_text(errors='replace')[-3000:]}")
    return code


def argument_list(command: str, checkout: Path) -> list[str]:
    """Returns the full command line: must-records prints JSON, and serving runs in Python's isolated mode."""
    program, *arguments = shlex.split(command)
    if program == "records":
        return [sys.executable, "-m", "tfrecords_tools", *arguments, "--json"]
    mode = ["-I"] if "--serve" in arguments else []
    return [sys.executable, *mode, str(checkout / program), *arguments]


def make(work: Path, checkout: Path) -> dict[str, Any]:
    """Runs all commands in a folder, two at a time, and returns their results."""
    if work.exists():
        sys.exit(f"error: {work} exists, and the commands would resume in it. Remove it, or give another folder.")
    for folder in ("printed", "pages", "settings"):
        (work / folder).mkdir(parents=True)
    for name, settings in {"all": CONFIG, "teacher": "task: {}", "student": STUDENT, "transfer": TRANSFER}.items():
        (work / "settings" / f"{name}.yaml").write_text(settings)
    check_imports(checkout, work)
    codes: dict[str, Any] = {}
    for group in commands():
        with ThreadPoolExecutor(2) as pool:
            group_codes = list(pool.map(run, group, group.values(), repeat(checkout), repeat(work)))
        codes |= {f"{name}: exit code": code for name, code in zip(group, group_codes, strict=True)}
    return codes | collected(work)


def collected(work: Path) -> dict[str, Any]:
    """Returns the content of all files in a folder except UNREAD: {"file: key": value}."""
    results: dict[str, Any] = {}
    for path in sorted(path for path in work.rglob("*") if path.is_file()):
        name = path.relative_to(work).as_posix()
        if not is_one_of(name, UNREAD):
            results |= {EVENTS.sub(r"events.\1", f"{name}: {key}"): value for key, value in content(path, name)}
    return results


def content(path: Path, name: str) -> Iterator[tuple[str, Any]]:
    """Yields the (key, value) pairs of a file, or its hash."""
    if EVENTS.fullmatch(path.name):
        yield from events(path)
    elif path.suffix == ".index":
        yield from list(variables(path))[-1 if is_one_of(name, HASHED) else 0 :]
    elif path.suffix not in READERS or is_one_of(name, HASHED):
        yield "sha256", sha256(path.read_bytes())
    else:
        text = path.read_text()
        leaves = list(flat(READERS[path.suffix](text)))
        is_all = not any(f'"{key}"' in text for key in OMITTED)
        yield from leaves
        yield "as a whole", sha256(text.encode() if is_all else repr(leaves).encode())  # includes the order


def is_one_of(name: str, patterns: Sequence[str]) -> bool:
    """Returns True if a name matches one of the patterns."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every leaf with its path, except OMITTED keys. An empty dict or list is a leaf."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not inner or not value:
        yield name, value
        return
    for key, child in inner:
        if key not in OMITTED:
            yield from flat(child, f"{name}/{key}" if name else str(key))


def variables(index: Path) -> Iterator[tuple[str, Any]]:
    """Yields the fingerprint of each variable of a checkpoint, then one of all variables without their names."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    hashes = []
    for name in sorted(reader.get_variable_to_shape_map()):
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH":  # repeats the names in another order
            value = reader.get_tensor(name)
            hashes.append(fingerprint(value))
            yield name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"), hashes[-1]
    yield "all variables without names", sha256("\n".join(sorted(hashes)).encode())


def events(path: Path) -> Iterator[tuple[str, Any]]:
    """Yields the TensorBoard summaries of a run, without times."""
    import tensorflow as tf

    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            if value.tag not in OMITTED:
                yield f"{value.tag} of step {event.step}", fingerprint(tf.make_ndarray(value.tensor))


def serve(export: str, records: str) -> None:
    """Prints the outputs of an export as JSON, using only TensorFlow."""
    import tensorflow as tf

    model = tf.saved_model.load(export)
    answers: dict[str, Any] = {"signatures": {name: declared(call) for name, call in model.signatures.items()}}
    for name, (signature, inputs) in questions(records).items():
        outputs = model.signatures[signature](**inputs)
        answers[name] = {key: fingerprint(outputs[key].numpy()) for key in sorted(outputs)}
    foreign = {name.split(".")[0] for name in sys.modules} & {*PACKAGES, "official"}
    json.dump(answers | {"project modules imported": sorted(foreign)}, sys.stdout, sort_keys=True)


def questions(records: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Returns (signature, inputs) by name: two images of different sizes, one by one and together, and a record."""
    import tensorflow as tf

    row, column = np.indices((160, 160))
    pattern = ((row + column)[..., None] * [3, 5, 7] + (row**2 // 40)[..., None]) % 256
    wide, tall = (tf.constant(pattern[:height, :width], tf.uint8) for height, width in ((96, 144), (160, 112)))
    files = tf.stack([tf.io.encode_png(wide), tf.io.encode_png(tall)])
    example = next(iter(tf.data.TFRecordDataset(sorted(tf.io.gfile.glob(records))[:1])))
    square = tf.constant(pattern[None, :128, :128], tf.uint8)
    return {
        "wide": ("image_bytes", {"image_bytes": files[:1]}),
        "tall": ("image_bytes", {"image_bytes": files[1:]}),
        "both": ("serving_default", {"image_bytes": files}),
        "tensor": ("image_tensor", {"image_tensor": wide[None]}),
        "record": ("tf_example", {"tf_example": example[None]}),
        "fitted": ("fitted", {"image": square, "image_shape": tf.constant([[96.0, 128.0]])}),
    }


def declared(signature: Any) -> dict[str, str]:
    """Returns the types and shapes of a signature's inputs and outputs."""
    specs = signature.structured_input_signature[1] | signature.structured_outputs
    return {name: f"{spec.dtype.name} {spec.shape}" for name, spec in specs.items()}


def fingerprint(value: Any) -> str:
    """Returns the type, shape and hash of an array or scalar."""
    array = np.asarray(value)
    bits = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()  # object arrays hold strings
    return f"{array.dtype} {list(array.shape)} {sha256(bits)}"


def sha256(content: bytes) -> str:
    """Returns the hash in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def compare(first: Path, second: Path) -> int:
    """Prints all differences between two results and returns the exit code."""
    old, new = (json.loads(path.read_text()) for path in (first, second))
    differences = 0
    for name in sorted(old.keys() | new.keys()):
        # As JSON, so that 1 differs from 1.0 and NaN equals NaN.
        before, after = (json.dumps(results[name]) if name in results else "(missing)" for results in (old, new))
        if before != after:
            differences += 1
            print(f"{name}: {before} -> {after}")
    print(f"{len(old.keys() | new.keys())} values compared, {differences or 'none'} differ")
    return 1 if differences or not old else 0


def main() -> int:
    """Makes or compares results and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", nargs="?", type=Path, help="output folder; its path does not affect the results")
    parser.add_argument(
        "--checkout",
        type=Path,
        default=Path(__file__).resolve().parents[2],
        help="checkout whose code runs; this one by default",
    )
    parser.add_argument("--compare", nargs=2, type=Path, metavar="RESULTS", help="two results.json files")
    parser.add_argument(
        "--serve", nargs=2, help=argparse.SUPPRESS
    )  # used by this program in a process without the project
    flags = parser.parse_args()
    if flags.serve:
        serve(*flags.serve)
        return 0
    if flags.compare:
        return compare(*flags.compare)
    if flags.run_dir is None:
        parser.error("RUN_DIR or --compare is required")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    start = time.monotonic()
    results = make(flags.run_dir.resolve() / "work", flags.checkout.resolve())
    path = flags.run_dir / "results.json"
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    print(f"{path}: {len(results)} values in {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
