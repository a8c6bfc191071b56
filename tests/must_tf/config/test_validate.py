"""All mistakes of a config are reported at once, each with its key and the nearest spelling."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from official.vision.modeling.backbones import mobilenet

from must_tf.common.errors import Mistakes, UserError, UserErrors
from must_tf.config import fields, validate
from must_tf.experiments import experiment_config
from tests.support.mistakes import Sandbox, merged, nested, run_export, run_records, run_train, task, trained


@functools.cache
def student() -> Any:
    """Looked at, not changed; Model Garden takes a quarter of a second to make one."""
    return experiment_config.load("must_student")


def wrong(key: str, value: Any) -> list[str]:
    """The problems with one value of must_student."""
    return validate.sift(student(), nested(key, value))[1]


DETECTION, RATE = "task.tasks.detection.", "trainer.optimizer_config.learning_rate."
OUT_OF_RANGE = {
    "task.input_size": 0,
    "task.l2_weight_decay": -1e-4,
    "task.pictures": 10**12,
    "task.train_data.global_batch_size": -1,
    "task.validation_data.global_batch_size": -8,
    "task.train_data.shuffle_buffer": 0,
    "task.train_data.augmentation.scale_min": 0.0,
    "task.train_data.augmentation.scale_max": -2.0,
    f"{DETECTION}score_threshold": 1.5,
    f"{DETECTION}loss_weight": -1.0,
    f"{DETECTION}aspect_ratios": [1.0, 0.0],
    f"{DETECTION}max_detections": 0,
    "task.tasks.masks.score_threshold": -0.1,
    "task.tasks.segmentation.confidence_threshold": 50,
    "task.tasks.depth.variance_focus": 1.1,
    "task.tasks.depth.loss_weight": float("nan"),
    "task.tasks.normals.loss_weight": float("inf"),
    "task.tasks.normals.stride": 0,
    "task.tasks.classification.label_smoothing": 2,
    "task.model.norm_activation.norm_momentum": 1.0,
    "task.model.decoder.fpn.num_filters": 0,
    "trainer.train_steps": 0,
    "trainer.steps_per_loop": -1,
    "trainer.validation_interval": 10**10,  # steps are counted in 32 bits
    "trainer.checkpoint_interval": 0,
    "trainer.max_to_keep": 1,
    "trainer.optimizer_config.optimizer.sgd.momentum": 1.5,
    "trainer.optimizer_config.optimizer.sgd.global_clipnorm": 0,
    "trainer.optimizer_config.warmup.linear.warmup_steps": -5,
    "task.backbone_learning_rate": 1.5,
    "task.patience": -1,
    f"{RATE}cosine.initial_learning_rate": 0.0,
    f"{RATE}cosine.decay_steps": 0,
    f"{RATE}cosine.alpha": -0.5,
    f"{RATE}stepwise.values": [0.1, -0.1],
    "runtime.num_gpus": -1,
    # Networks of no machine.
    "task.model.max_level": 10**12,
    "task.model.backbone.resnet.depth_multiplier": 1e9,
    "task.tasks.depth.filters": 10**9,
    f"{DETECTION}proposals": 10**10,
    f"{DETECTION}anchor_size": 1e12,
    "task.model.backbone.spinenet_mobile.expand_ratio": 0,
    "task.model.norm_activation.norm_epsilon": 1e300,
    "task.model.normalisation.mean": [1e12],
    "task.validation_data.augmentation.scale_max": 1e12,
    "task.validation_data.shuffle_buffer": 10**12,
    # Numbers without bounds of their own.
    "trainer.loss_upper_bound": float("nan"),
    "task.tasks.depth.teacher_figure": float("inf"),
}


@pytest.mark.parametrize("key", OUT_OF_RANGE)
def test_out_of_range(key: str) -> None:
    """The place, the value and the range are named."""
    found = wrong(key, OUT_OF_RANGE[key])
    assert len(found) == 1
    assert found[0].startswith(f"{key}={OUT_OF_RANGE[key]!r} is out of range: must be ")


@pytest.mark.parametrize("key", ["trainer.summary_interval", "task.tasks.depth.loss_weight"])
def test_a_number_that_is_no_float(key: str) -> None:
    (found,) = wrong(key, 10**400)
    assert found.startswith(f"{key}=10000") and " is out of range: must be " in found


WRONG_TYPE: list[tuple[str, Any, str]] = [
    ("task.input_size", "128", "a whole number"),
    ("task.input_size", None, "a whole number"),
    ("task.input_size", 128.5, "a whole number"),
    ("task.input_size", True, "a whole number"),
    ("task.tasks.depth.enabled", 1, "true or false"),
    ("task.tasks.depth.loss_weight", "1.0", "a number"),
    (f"{DETECTION}aspect_ratios", "1.0", "a list, each a number"),
    (f"{DETECTION}aspect_ratios", [1.0, "two"], "a list, each a number"),
    (f"{DETECTION}classes", [1, 2], "a list, each a string"),
    (f"{DETECTION}design", ["maskrcnn"], "a string"),
    ("task.train_data.augmentation", 2.0, "a group of keys"),
    ("runtime.mixed_precision_dtype", 16, "a string"),
]


@pytest.mark.parametrize(("key", "value", "kind"), WRONG_TYPE)
def test_wrong_type(key: str, value: Any, kind: str) -> None:
    """For single values, entries of lists, and fields that are None."""
    found = wrong(key, value)
    assert len(found) == 1
    assert found[0].startswith(f"{key}={value!r}: must be {kind}, for example ")
    assert not found[0].endswith("[].")


NEAREST = {
    ("task.inptu_size", 1): "'input_size'",
    ("task.depth.enabled", True): "'task.tasks.depth'",  # it is a group deeper
    ("trainer.learning_rate.type", "cosine"): "'trainer.optimizer_config.learning_rate'",
    (f"{DETECTION}design", "retinnet"): "'retinanet'",
    ("runtime.distribution_strategy", "mirored"): "'mirrored'",
    ("task.model.norm_activation.activation", "rellu"): "'relu'",
    ("task.model.backbone.resnet.model_id", 51): "'50'",
    (f"{RATE}type", "cosin"): "'cosine'",
    ("task.model.backbone.resnet.stem_type", "v00"): "'v0'",
    ("task.model.backbone.mobilenet.model_id", "MobilNetV2"): "'MobileNetV2'",
    ("task.model.decoder.fpn.fusion_type", "summ"): "'sum'",
}


@pytest.mark.parametrize("case", NEAREST, ids=str)
def test_the_nearest_right_spelling(case: tuple[str, Any]) -> None:
    """For keys, for words, and for keys of another group."""
    assert f"Did you mean {NEAREST[case]}?" in wrong(*case)[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("task.train_data.input_path", ["a", "b"]),
        ("task.train_data.input_path", "a"),
        ("task.tasks.depth.loss_weight", 2),
        ("task.init_modules", ["trunk", "depth"]),
        (f"{DETECTION}score_threshold", 1.0),
        ("trainer.optimizer_config.optimizer.sgd.global_clipnorm", None),
        ("runtime.mixed_precision_dtype", None),
        ("trainer.validation_steps", -1),
        (f"{RATE}stepwise.boundaries", [10, 20]),
    ],
)
def test_what_fits(key: str, value: Any) -> None:
    """The ends of ranges, whole numbers for numbers, None for optional fields."""
    assert not wrong(key, value)


def test_all_mobilenets_are_known() -> None:
    assert {*fields.MODELS["MobileNet"]} == {*mobilenet.SUPPORTED_SPECS_MAP}


def test_ranges_in_words() -> None:
    """As they are printed."""
    assert str(fields.Range(0, 1)) == "at least 0 and at most 1"
    assert str(fields.Range(0, 1, open_high=True)) == "at least 0 and below 1"
    assert str(fields.POSITIVE) == "above 0"


@pytest.mark.parametrize("name", experiment_config.experiments())
def test_the_experiments_keep_to_their_own_rules(name: str) -> None:
    """No default is refused."""
    assert not validate.problems_of(experiment_config.load(name))


# 10^6 values in 200 bytes.
ALIAS_BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task: !!python/name:os.system", "not valid YAML"),
        ("[" * 5000, "nested too deeply"),
        (ALIAS_BOMB, "more than 100,000 values"),
        ("a: &a [*a]", "more than 100,000 values"),
        (f"a: '{'x' * 2_000_000}'", "longer than"),
        ("a\0b: 1", "zero byte"),
    ],
    ids=["an object", "deep", "an alias bomb", "itself", "long", "zero"],
)  # fmt: skip
def test_yaml_that_is_an_attack_is_one_short_line(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as raised:
        experiment_config.load("must_student", (), text)
    assert len(str(raised.value)) < 1000 and "\n" not in str(raised.value)


def test_a_value_is_cut_in_a_message() -> None:
    assert len(wrong("task.balance", "x" * 10**6)[0]) < 1000


def test_mistakes_are_gathered() -> None:
    """In order, each once, with those of a nested error; a single one is an ordinary error."""
    mistakes = Mistakes(["a"])
    with mistakes.collected():
        raise UserErrors(["b", "a"])
    with pytest.raises(UserError, match=r"^2 problems:\n  - a\n  - b$"):
        mistakes.raise_all()
    with pytest.raises(UserError, match="^a$"):
        Mistakes(["a"]).raise_all()
    Mistakes().raise_all()


def test_very_many_mistakes_are_20_lines() -> None:
    """A file with a wrong indentation has hundreds; all of them can be read by a program."""
    mistakes = Mistakes([str(number) for number in range(500)])
    with pytest.raises(UserError) as caught:
        mistakes.raise_all()
    lines = str(caught.value).splitlines()
    assert lines[0] == "500 problems:" and lines[18:] == ["  - 17", "  - and 482 more. Fix these first."]
    assert len(caught.value.problems) == 500
    with pytest.raises(UserError, match="  - 17$"):
        Mistakes([str(number) for number in range(18)]).raise_all()


def test_train_says_everything_at_once(world: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Experiment, key, type, range, class, path, in two places; nothing that only follows from them."""
    first = world.file("a.yaml", yaml.safe_dump({"trainer": {"train_stps": 5}}))
    override = merged(
        task(input_size="big", l2_weight_decay=-1.0, validation_data={"input_path": "nowhere/*"}),
        task(tasks={"detection": {"classes": ["ball", "bocks", "cone", "cylinder"]}}),
    )
    given = [*trained(world, override, "must_studnt", "train_and_eval"), f"--config_file={first}"]
    capsys.readouterr()
    assert run_train(given) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0] == "error: 6 problems:"
    parts = [
        ("--experiment='must_studnt'", "'must_student'"),
        ("a.yaml: trainer.train_stps", "'train_steps'"),
        ("--params_override: task.input_size='big'", "whole number"),
        ("--params_override: task.l2_weight_decay=-1.0", "at least 0"),
        ("task.validation_data.input_path", "nowhere"),
        ("task.tasks.detection.classes", "'bocks' is not one of them. Did you mean 'box'?"),
    ]
    for part in parts:
        assert any(all(word in line for word in part) for line in lines[1:]), (part, lines)
    assert not Path(world.out).exists()


def test_scales_that_contradict_each_other(world: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """Each alone is in its range."""
    zoom = {"augmentation": {"scale_min": 1.5, "scale_max": 1.2}}
    assert run_train(trained(world, task(train_data=zoom))) == 2
    assert "scale_min=1.5 must not be above scale_max=1.2" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["export", "label"])
def test_other_commands_say_everything_at_once(
    command: str, world: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A params.yaml that was edited: both mistakes, and for label those of the command line beside them."""
    run = world.tmp / "run"
    run.mkdir()
    changed = {"task": {"input_sice": 1, "tasks": {"depth": {"enabled": True, "stride": 0}}}}
    (run / "params.yaml").write_text(yaml.safe_dump(changed))
    capsys.readouterr()
    if command == "export":
        code = run_export([f"--model_dir={run}", f"--out={world.out}"])
    else:
        given = ["--records", "nowhere/*", "--out", world.out, "--teacher", "dpeth=a", "--teacher", f"depth={run}"]
        code = run_records(["label", *given], monkeypatch)
    text = capsys.readouterr().err
    assert code == 2
    expected = ["params.yaml: input_sice: no such key. Did you mean 'input_size'?", "tasks.depth.stride=0 is out of"]
    for part in expected + (["--records='nowhere/*'", "no task 'dpeth'. Did you mean 'depth'?"] * (command == "label")):
        assert part in text
    shutil.rmtree(run)
    assert not Path(world.out).exists()


def test_an_override_that_cannot_be_read_is_the_only_mistake() -> None:
    """What it would have set is missing, and must not be reported as well."""
    with pytest.raises(UserError) as error:
        experiment_config.read("must_studnet", override="task.train_data.input_path=rec [1]/*,trainer.train_steps=3")
    first, second = error.value.problems
    assert "'must_studnet' is unknown" in first and "in quotes" in second
