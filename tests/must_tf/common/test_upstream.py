"""Every function of upstream.py still does what its docstring says, and nothing else reaches into other libraries."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
import typing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import orbit
import pytest
import tensorflow as tf
import tf_keras
from absl import logging
from official.core import exp_factory
from official.modeling import hyperparams
from tensorflow.python.checkpoint import checkpoint_management
from tensorflow.python.data.ops import multi_device_iterator_ops as multi_device
from tensorflow.python.eager import context

from must_tf.cli import train
from must_tf.cli.flags import TrainFlags
from must_tf.common import upstream
from must_tf.common.errors import UserError
from must_tf.data import record
from must_tf.experiments.experiment_config import experiments
from tests.support.session.forked_python import INTERPRETER

ROOT = Path(__file__).resolve().parents[3]
ALLOWED = ROOT / "must_tf" / "common" / "upstream.py"
NAMEDTUPLE = {"_replace", "_asdict", "_fields", "_field_defaults", "_make"}  # public in spite of their names
DOCUMENTED = {"os._exit"}


def operations(metadata: tf.compat.v1.RunMetadata) -> Counter[str]:
    """How many operations of each type there are in all the functions that ran."""
    graphs = [graph for function in metadata.function_graphs for graph in function.partition_graphs]
    parts = [part for graph in graphs for part in (graph, *graph.library.function)]
    return Counter(node.op for part in parts for node in (part.node if hasattr(part, "node") else part.node_def))


def test_a_checksum_is_the_one_in_a_file_of_records(tmp_path: Path) -> None:
    """Of short and long records, in any order: a file in memory that is not removed would be appended to."""
    records = [b"long" * 300_000, b"", b"short"]
    for data in records:
        path = str(tmp_path / "a.tfrecord")
        with tf.io.TFRecordWriter(path) as writer:
            writer.write(data)
        assert upstream.record_checksum(data) == Path(path).read_bytes()[-4:]
    assert upstream.record_checksum(b"shorT") != upstream.record_checksum(b"short")


def test_checksums_of_several_threads_are_their_own() -> None:
    """A worker of Beam reads several files at the same time."""
    records = [bytes([number]) * 1000 * (number + 1) for number in range(200)]
    alone = [upstream.record_checksum(data) for data in records]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(upstream.record_checksum, records)) == alone


@pytest.mark.usefixtures("optimised_graphs")
def test_sums_have_a_fixed_order() -> None:
    """Grappler adds terms up as they arrive, in a temporary variable, if together they take over 0.8 of 256 MB."""

    @tf.function(autograph=False)
    def large_sum(values: tf.Tensor) -> tf.Tensor:
        return tf.add_n([tf.sin(values * float(number)) for number in range(1, 17)])

    upstream.disable_memory_optimizer()
    context.enable_run_metadata()
    try:
        large_sum(tf.ones([2048, 2048]))
        counts = operations(context.export_run_metadata())
    finally:
        context.disable_run_metadata()
    assert counts["AddN"] == 1 and not counts["TemporaryVariable"]


def test_no_thread_delays_the_end_of_a_distributed_dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow puts datasets of its own around ours, and closing their iterators would wait for the autotuning."""
    plain = inspect.unwrap(multi_device._create_device_dataset)  # the session may have replaced it
    monkeypatch.setattr(multi_device, "_create_device_dataset", plain)
    for _ in range(2):
        upstream.close_iterators_at_once()
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    numbers = record.without_autotune(tf.data.Dataset.range(3))
    iterator = iter(strategy.distribute_datasets_from_function(lambda _: numbers))
    (of_worker,) = iterator._iterators
    (of_device,) = of_worker._iterator._device_iterators
    assert of_device._dataset.options().autotune.enabled is False  # and not None, which means that it is on
    assert [int(number) for number in iterator] == [0, 1, 2]


@pytest.mark.parametrize("name", ["disable_memory_optimizer", "close_iterators_at_once"])
def test_a_training_prepares_tensorflow(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it reads anything, so also one that is refused."""
    prepares = mock.Mock()
    monkeypatch.setattr(upstream, name, prepares)
    with pytest.raises(UserError, match="must_nothing"):
        train.run(TrainFlags("must_nothing", str(tmp_path)))
    prepares.assert_called_once_with()


def test_hidden_modules_can_be_imported_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that are imported already stay."""
    (tmp_path / "a_library.py").write_text("FOUND = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with upstream.hidden_modules("a_library", "json"):
        with pytest.raises(ModuleNotFoundError, match="a_library"):
            import_module("a_library")
        assert import_module("json").loads("1") == 1
    assert import_module("a_library").FOUND == 1
    del sys.modules["a_library"]


def test_tensorflow_has_started_with_its_first_operation() -> None:
    """Not by its import; in a process of its own, because this one's has started."""
    script = """
from must_tf.common import upstream
import tensorflow as tf
print(upstream.tensorflow_has_started())
tf.zeros([1])
print(upstream.tensorflow_has_started())
"""
    done = subprocess.run([*INTERPRETER, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_records_are_read_at_their_offsets(tmp_path: Path) -> None:
    """The second record starts where the first one ends."""
    path = str(tmp_path / "a.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        for content in (b"first", b"second"):
            writer.write(content)
    reader = upstream.random_record_reader(path)
    first, offset = reader.read(0)
    second, _ = reader.read(offset)
    assert (first, second) == (b"first", b"second")


def test_a_config_looks_up_its_types_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For itself, not for the classes made from it; values become what their types say as ever."""
    plain = inspect.unwrap(hyperparams.Config._get_annotations.__func__)  # the session has cached it
    monkeypatch.setattr(hyperparams.Config, "_get_annotations", classmethod(plain))
    types_of = mock.Mock(side_effect=typing.get_type_hints)
    monkeypatch.setattr(typing, "get_type_hints", types_of)
    for _ in range(2):
        upstream.cache_config_types()
    part: Any = dataclasses.make_dataclass("Part", [("size", int, 1)], bases=(hyperparams.Config,))
    fields = [("part", part, dataclasses.field(default_factory=part))]
    whole = dataclasses.make_dataclass("Whole", fields, bases=(part,))
    for size in (2, 3):
        config = whole({"part": {"size": size}})
        assert isinstance(config.part, part) and config.part.size == size
    assert Counter(call.args[0] for call in types_of.call_args_list) == {part: 1, whole: 1}


def test_the_types_of_configs_are_looked_up_once_as_soon_as_the_tasks_are_known() -> None:
    """In every command: thousands of small configs are made while datasets are looked at."""
    script = """
from official.modeling.hyperparams import Config
types_of = Config._get_annotations.__func__
from must_tf.tasks import discover
print(Config._get_annotations.__func__ is types_of)
discover()
print(Config._get_annotations.__func__ is types_of)
"""
    done = subprocess.run([*INTERPRETER, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["True", "False"], done.stderr


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("module", [tf_keras.optimizers, tf_keras.optimizers.legacy], ids=["keras", "legacy"])
def test_slots_are_there_before_the_first_step(module: object, kind: str) -> None:
    """A step adds none. Model Garden's, the legacy ones, also have the names that the first step gives them."""
    names = []
    for early in (True, False):
        variable = tf.Variable([1.0, 2.0], name="kernel")
        optimizer = getattr(module, kind)(0.1, **({"momentum": 0.9} if kind == "SGD" else {}))
        if early:
            upstream.create_slots(optimizer, [variable])
            before = len(variables(optimizer))
        optimizer.apply_gradients([(tf.ones([2]), variable)])
        names.append([slot.name for slot in variables(optimizer)])
        if early:
            assert len(names[0]) == before > 1
    assert len(names[0]) == len(names[1])
    assert module is not tf_keras.optimizers.legacy or names[0] == names[1]


def variables(optimizer: Any) -> list[tf.Variable]:
    """The optimizer's variables, which its two kinds give in different ways."""
    return optimizer.variables() if callable(optimizer.variables) else optimizer.variables


def test_a_manager_saves_at_steps_counted_from_the_one_that_is_set(tmp_path: Path) -> None:
    """With an interval of 10 and step 25 set, step 34 is too early and step 35 is not."""
    step = tf.Variable(0, dtype=tf.int64)
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(step=step), str(tmp_path), max_to_keep=2, step_counter=step, checkpoint_interval=10
    )
    upstream.set_last_saved_step(manager, 25)
    step.assign(34)
    assert manager.save(checkpoint_number=34) is None
    step.assign(35)
    assert manager.save(checkpoint_number=35)


@pytest.mark.parametrize("relative", [False, True])
def test_the_list_of_checkpoints(relative: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one is the newest; the list has names, so that it is valid wherever the folder is moved."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    folder = "run" if relative else str(tmp_path / "run")
    upstream.write_checkpoint_state(folder, [f"{folder}/ckpt-2", f"{folder}/ckpt-3"], [1.0, 2.5])
    assert (tmp_path / "run" / "checkpoint").read_text().splitlines() == [
        'model_checkpoint_path: "ckpt-3"',
        'all_model_checkpoint_paths: "ckpt-2"',
        'all_model_checkpoint_paths: "ckpt-3"',
        "all_model_checkpoint_timestamps: 1.0",
        "all_model_checkpoint_timestamps: 2.5",
    ]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint"]
    (tmp_path / "run").rename(tmp_path / "moved")
    assert tf.train.get_checkpoint_state(str(tmp_path / "moved")).model_checkpoint_path == f"{tmp_path}/moved/ckpt-3"


def test_a_listed_checkpoint_of_another_folder(tmp_path: Path) -> None:
    """It is listed by its whole path."""
    upstream.write_checkpoint_state(str(tmp_path), ["/elsewhere/ckpt-7"])
    assert tf.train.get_checkpoint_state(str(tmp_path)).model_checkpoint_path == "/elsewhere/ckpt-7"


def test_a_remote_list_has_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a local one."""
    written: list[tuple[str, str]] = []
    monkeypatch.setattr(
        checkpoint_management.file_io, "atomic_write_string_to_file", lambda *given: written.append(given)
    )
    upstream.write_checkpoint_state("gs://bucket/run", ["gs://bucket/run/ckpt-3"])
    ((path, text),) = written
    assert path == "gs://bucket/run/checkpoint"
    assert text.splitlines() == ['model_checkpoint_path: "ckpt-3"', 'all_model_checkpoint_paths: "ckpt-3"']


def test_the_controller_prints_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither at the start of training nor about its results."""

    step = tf.Variable(0, dtype=tf.int64)

    class Trainer(orbit.StandardTrainer):
        """Only counts steps."""

        def train_step(self, iterator: Iterator) -> None:
            """Takes an element."""
            next(iterator)
            step.assign_add(1)

        def train_loop_end(self) -> dict[str, tf.Tensor]:
            """Returns one metric."""
            return {"loss": tf.constant(1.0)}

    monkeypatch.setattr(orbit.controller, "_log", orbit.controller._log)  # restored afterwards
    logged: list[str] = []
    monkeypatch.setattr(logging, "debug", lambda message, *rest: logged.append(message))
    upstream.quiet_controller()
    controller = orbit.Controller(
        trainer=Trainer(tf.data.Dataset.range(4).repeat()), global_step=step, steps_per_loop=1
    )
    controller.train(2)
    assert not capsys.readouterr().out
    assert any("training until step 2" in message for message in logged)


def test_experiments_are_those_that_are_registered() -> None:
    """The project lists its own; Model Garden has no public list."""
    registered = exp_factory._REGISTERED_CONFIGS
    assert experiments() == sorted(name for name in registered if name.startswith("must_"))


def private(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of every use of another object's private name, or of a private module."""
    peers = {id(node) for part in ast.walk(tree) if isinstance(part, ast.ClassDef) for node in of_its_class(part)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from inherited(node)
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            text = ast.unparse(node)
            if ast.unparse(node.value) not in ("self", "cls") and text not in DOCUMENTED and id(node) not in peers:
                yield node.lineno, text
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "delattr", "hasattr"):
            name = node.args[1]
            own = ast.unparse(node.args[0]) in ("self", "cls")
            if isinstance(name, ast.Constant) and is_private(str(name.value)) and not own:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from modules(node)


def of_its_class(node: ast.ClassDef) -> Iterator[ast.AST]:
    """Attributes of another object of the same class, which a method gets as an argument."""
    for method in node.body:
        if isinstance(method, ast.FunctionDef):
            arguments = [a for a in method.args.args if a.annotation and ast.unparse(a.annotation) == node.name]
            names = {argument.arg for argument in arguments}
            parts = [part for part in ast.walk(method) if isinstance(part, ast.Attribute)]
            yield from (part for part in parts if ast.unparse(part.value) in names)


def inherited(node: ast.ClassDef) -> Iterator[tuple[int, str]]:
    """Private names of `self` and `cls` that the class does not define, so that a base class must."""
    parts = list(ast.walk(node))
    own = {part.name for part in parts if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    own |= {part.attr for part in parts if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)}
    own |= {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    reads = [part for part in parts if isinstance(part, ast.Attribute) and is_private(part.attr)]
    for part in reads:
        if part.attr not in own and ast.unparse(part.value) in ("self", "cls"):
            yield part.lineno, f"{node.name}: {ast.unparse(part)}"


def modules(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[int, str]]:
    """Imports of private names, of private modules, and of tensorflow.python, which all of TensorFlow's API hides."""
    names = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{name}" for name in names]
    for name in names:
        if name.startswith("tensorflow.python.") or any(map(is_private, name.split("."))):
            yield node.lineno, name


def is_private(name: str) -> bool:
    """Returns True for a name with one underscore in front, and for TensorFlow's `__internal__`."""
    single = name.startswith("_") and not name.startswith("__") and name not in NAMEDTUPLE
    return single or name == "__internal__"


def patches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, text) of assignments to attributes of imported modules."""
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            root = ast.unparse(node).split(".")[0]
            if root in imported and ast.unparse(node) not in REPLACEABLE:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith("sys.modules."):
            yield node.lineno, ast.unparse(node.func)


REPLACEABLE = {"sys.stdout", "sys.stderr", "sys.unraisablehook"}  # documented so
FILES = sorted(path for package in ("must_tf", "tfrecords_tools") for path in (ROOT / package).rglob("*.py"))


def test_only_upstream_reaches_into_other_libraries() -> None:
    """Private names, private modules and patches of all other files."""
    trees = {path.relative_to(ROOT): ast.parse(path.read_text()) for path in FILES if path != ALLOWED}
    uses = [f"{path}:{line}: {text}" for path, tree in trees.items() for line, text in (*private(tree), *patches(tree))]
    assert not uses, "\n".join(uses)


@pytest.mark.parametrize(
    "source",
    [
        "import a\na._b",
        "from a import _b",
        "import a._b",
        "from tensorflow.python.eager import context",
        "getattr(a, '_b', None)",
        "f(x)._y = 3",
        "class A(B):\n    def f(self):\n        return self._c",
        "class A:\n    def f(self, other: B):\n        return other._c",
        "import a.b\na.b.c = 1",
        "from a import b\nb.c = 1",
        "import sys\nsys.modules.update({'a': None})",
    ],
)
def test_the_scan_sees(source: str) -> None:
    """Each of the ways to depend on the inside of a library."""
    tree = ast.parse(source)
    assert [*private(tree), *patches(tree)]


@pytest.mark.parametrize(
    "source",
    [
        "a._replace(b=1)",
        "a.__dict__",
        "class A(B):\n    def __init__(self):\n        self._c = 1\n    def f(self):\n        return self._c",
        "class A(B):\n    def _f(self):\n        pass\n    def g(self):\n        self._f()",
        "class A:\n    def f(self, other: A):\n        self._c = 1 + other._c",
    ],
)
def test_the_scan_allows(source: str) -> None:
    """What is public or the class's own."""
    tree = ast.parse(source)
    assert not [*private(tree), *patches(tree)]
