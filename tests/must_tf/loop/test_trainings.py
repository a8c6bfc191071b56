"""The steps that follow from a plan and from what its datasets contain."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from must_tf.common.errors import Mistakes, UserError
from must_tf.loop import checks, costs, disk, pace, plan_file, records, report
from must_tf.loop import plan as plan_lib
from must_tf.loop import teachers as teachers_lib
from must_tf.loop import trainings as trainings_lib
from must_tf.loop.facts import Facts
from must_tf.loop.settings import Machine
from must_tf.loop.steps import Step
from must_tf.loop.trainings import Trainings
from tfrecords_tools.teachers import About
from tfrecords_tools.writing import worker_pool

COCO = {"format": "coco", "images": "i", "annotations": "a.json"}
ROOMS = {"format": "rgbd", "root": "rooms"}
ALBUM = {"format": "images", "root": "album"}
# Facts of the datasets above, before their conversion.
STREET_FACTS = Facts(1000, {"detection": 1000, "masks": 1000}, {"detection": ("car", "dog")}, 640)
ROOMS_FACTS = Facts(200, {"depth": 200, "normals": 150}, {}, 640)
ALBUM_FACTS = Facts(5000, {}, {}, 320)
PETS_FACTS = Facts(500, {"detection": 500}, {"detection": ("dog", "cat")}, 640)


def plan_of(datasets: Mapping[str, Any], **more: Any) -> plan_lib.Plan:
    """Returns a plan in folder `o`."""
    return plan_file.Reader("plan.yaml", {"out": "o", "datasets": datasets, **more}, Mistakes()).plan()


def names(steps: Sequence[Step]) -> list[str]:
    """Returns the names of steps."""
    return [step.name for step in steps]


def trainings(plan: plan_lib.Plan, facts: Mapping[str, Facts]) -> Trainings:
    """Returns the trainings of a plan with these facts."""
    _, folders = records.conversions(plan, facts)
    return Trainings(plan, records.merges(plan, folders)[1], {}, Machine())


@pytest.fixture(name="home")
def home_fixture() -> tuple[plan_lib.Plan, dict[str, Facts]]:
    """A plan with boxes and masks, depth and normals, and unlabelled images."""
    plan = plan_of({"street": COCO, "rooms": ROOMS, "album": ALBUM}, export=True)
    return plan, {"street": STREET_FACTS, "rooms": ROOMS_FACTS, "album": ALBUM_FACTS}


def test_validation_is_set_apart_from_labelled_datasets_and_left_out_of_all(
    home: tuple[plan_lib.Plan, dict[str, Facts]],
) -> None:
    steps, folders = records.conversions(*home)
    assert names(steps) == [f"convert {name}" for name in ("street-val", "rooms-val", "street", "rooms", "album")]
    share = ("--validation-share", "0.1")
    left_out = ("--exclude", "o/records/street-val/*.tfrecord", "--exclude", "o/records/rooms-val/*.tfrecord")
    coco = ("convert", "coco", "--images", "i", "--annotations", "a.json")
    assert steps[0].words == (*coco, "--part", "validation", *share, "--out", "o/records/street-val")
    assert steps[2].words == (*coco, "--part", "train", *share, *left_out, "--out", "o/records/street")
    assert steps[4].words == ("convert", "images", "--root", "album", *left_out, "--out", "o/records/album")
    assert [folder.facts.images for folder in folders.train] == [900, 180, 5000]
    assert [folder.facts.images for folder in folders.validation] == [100, 20]


def test_conversions_with_worker_processes_share_no_process(
    home: tuple[plan_lib.Plan, dict[str, Facts]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The street has 1,000 images, the album 5,000, and the rooms 200: one worker per 500, unless the plan says it."""
    monkeypatch.setattr(worker_pool.devices, "cores", lambda: 4)
    plan, facts = home
    steps, _ = records.conversions(plan, facts)
    assert [step.name for step in steps if step.processes] == ["convert rooms-val", "convert rooms"]
    plan = plan_of({"street": {**COCO, "workers": 1}, "rooms": {**ROOMS, "workers": 2}, "album": ALBUM})
    steps, _ = records.conversions(plan, facts)
    assert [step.name for step in steps if step.processes] == ["convert street-val", "convert street"]


def test_every_task_that_images_lack_has_a_teacher(home: tuple[plan_lib.Plan, dict[str, Facts]]) -> None:
    whole = trainings(*home)
    assert names(whole.steps()) == [
        "teacher-masks",  # two heads: the longest, so that another one runs beside it to its end
        "teacher-depth",
        "teacher-normals",
        "label street",
        "label rooms",
        "label album",
        "student",
        "export",
    ]
    masks = whole.steps()[0]
    assert masks.words == (
        "train",
        "--experiment=must_teacher_masks",
        "--mode=train_and_eval",
        "--model_dir=o/teacher-masks",
        "--config_file=o/configs/teacher-masks.yaml",
    )
    assert masks.needs == ("o/records/street", "o/records/street-val")
    (values,) = (make() for make in masks.files.values())
    assert values["task"]["train_data"]["input_path"] == ["o/records/street/*.tfrecord"]
    assert values["task"]["validation_data"]["input_path"] == ["o/records/street-val/*.tfrecord"]
    heads = {task: head["enabled"] for task, head in values["task"]["tasks"].items()}
    assert [task for task, is_on in heads.items() if is_on] == ["detection", "masks"]


@pytest.mark.parametrize("task", ["masks", "detection"])  # they have one teacher, which either name limits
def test_a_teacher_labels_the_datasets_that_the_plan_names(
    home: tuple[plan_lib.Plan, dict[str, Facts]], task: str
) -> None:
    planned = {task: plan_lib.PlannedTeacher(labels=("album",)), "depth": plan_lib.PlannedTeacher(labels=("street",))}
    whole = trainings(dataclasses.replace(home[0], teachers=planned), home[1])
    checks.check(whole)
    labelled = {step.name: [word for word in step.words if "=o/teacher" in word] for step in whole.steps()}
    assert labelled["label street"] == ["depth=o/teacher-depth", "normals=o/teacher-normals"]
    boxes = ["detection=o/teacher-masks", "masks=o/teacher-masks"]
    assert labelled["label album"] == ["normals=o/teacher-normals", *boxes]
    assert labelled["label rooms"] == ["normals=o/teacher-normals"]
    (student,) = (step for step in whole.steps() if step.name == "student")
    assert {f"o/records/{name}-labelled" for name in ("street", "rooms", "album")} <= {*student.needs}


def test_a_teacher_that_labels_nothing_is_not_trained(home: tuple[plan_lib.Plan, dict[str, Facts]]) -> None:
    """Photos without labels then teach nothing, if it would have been the only one."""
    plan, facts = home
    idle = plan_lib.PlannedTeacher(labels=())
    whole = trainings(dataclasses.replace(plan, teachers={"depth": idle}), facts)
    assert "teacher-depth" not in names(whole.steps()) and "teacher-normals" in names(whole.steps())
    checks.check(whole)
    every = trainings(dataclasses.replace(plan, teachers=dict.fromkeys(("depth", "normals", "masks"), idle)), facts)
    with pytest.raises(UserError, match=r"datasets\.album teaches nothing: it has no labels\."):
        checks.check(every)


def test_tasks_with_one_teacher_have_one_group_of_settings(home: tuple[plan_lib.Plan, dict[str, Facts]]) -> None:
    """It may stand below any of them; others than that would have no effect."""
    plan, facts = home
    for order, empty in (("detection", "masks"), ("masks", "detection")):
        own = {order: plan_lib.PlannedTeacher(run=plan_lib.RunSettings(40)), empty: plan_lib.PlannedTeacher()}
        whole = trainings(dataclasses.replace(plan, teachers=own), facts)
        (values,) = (make() for step in whole.steps() if step.name == "teacher-masks" for make in step.files.values())
        assert values["trainer"]["train_steps"] == 40
        checks.check(whole)
    own = {
        task: plan_lib.PlannedTeacher(run=plan_lib.RunSettings(steps))
        for steps, task in ((40, "detection"), (60, "masks"))
    }
    with pytest.raises(UserError, match="teachers: detection and masks are trained together. Give settings for one of"):
        checks.check(trainings(dataclasses.replace(plan, teachers=own), facts))


def test_teachers_add_only_the_labels_that_a_dataset_lacks(home: tuple[plan_lib.Plan, dict[str, Facts]]) -> None:
    steps = {step.name: step for step in trainings(*home).steps()}
    depth, normals = ("--teacher", "depth=o/teacher-depth"), ("--teacher", "normals=o/teacher-normals")
    boxes = ("--teacher", "detection=o/teacher-masks", "--teacher", "masks=o/teacher-masks")
    assert steps["label street"].words[3:-2] == (*depth, *normals)
    assert steps["label rooms"].words[3:-2] == (*normals, *boxes)  # a quarter of the rooms has no normals
    assert steps["label album"].words[3:-2] == (*depth, *normals, *boxes)
    assert steps["label album"].words[-2:] == ("--out", "o/records/album-labelled")
    (values,) = (make() for make in steps["student"].files.values())
    assert values["task"]["train_data"]["input_path"] == [
        f"o/records/{name}-labelled/*.tfrecord" for name in ("street", "rooms", "album")
    ]


def test_real_boxes_without_masks_keep_their_boxes_and_get_no_masks(
    home: tuple[plan_lib.Plan, dict[str, Facts]],
) -> None:
    """As in COCO files with some objects that only have a box. Boxes and masks come together, or not at all."""
    plan, facts = home
    partly = STREET_FACTS._replace(labelled={"detection": 1000, "masks": 900})
    (step,) = (one for one in trainings(plan, {**facts, "street": partly}).steps() if one.name == "label street")
    given = [word for word in step.words if "=" in word]
    assert given == ["depth=o/teacher-depth", "normals=o/teacher-normals"]
    both = STREET_FACTS._replace(labelled={"detection": 950, "masks": 900})
    (step,) = (one for one in trainings(plan, {**facts, "street": both}).steps() if one.name == "label street")
    assert [word for word in step.words if "teacher-masks" in word] == [
        "detection=o/teacher-masks",
        "masks=o/teacher-masks",
    ]


def test_a_confidence_is_asked_for_where_labels_get_one(home: tuple[plan_lib.Plan, dict[str, Facts]]) -> None:
    """Rooms that have all depth and normals get boxes and masks only. It costs another pass, and a byte per pixel."""
    facts = {**home[1], "rooms": ROOMS_FACTS._replace(labelled={"depth": 200, "normals": 200})}
    plain, with_it = (trainings(dataclasses.replace(home[0], confidence=value), facts) for value in (False, True))
    before, after = ({step.name: step for step in each.steps()} for each in (plain, with_it))
    assert {name for name, step in after.items() if "--confidence" in step.words} == {"label street", "label album"}
    assert not any("--confidence" in step.words for step in before.values())
    depth, masks = (next(one for one in with_it.teachers() if task in one.tasks) for task in ("depth", "masks"))
    assert [costs._passes(after[f"label {name}"], depth) for name in ("album", "rooms")] == [2, 1]
    assert costs._passes(after["label album"], masks) == 1
    album, rooms = (next(one for one in with_it.folders.train if one.name == name) for name in ("album", "rooms"))
    assert disk._labelled(album, with_it) - disk._labelled(album, plain) == 2 * 5000 * 320**2
    assert disk._labelled(rooms, with_it) == disk._labelled(rooms, plain)
    checks.check(with_it)


def test_half_maps_are_for_folders_that_get_maps_and_take_a_third(
    home: tuple[plan_lib.Plan, dict[str, Facts]],
) -> None:
    facts = {**home[1], "rooms": ROOMS_FACTS._replace(labelled={"depth": 200, "normals": 200})}
    plain, halved = (trainings(dataclasses.replace(home[0], half_maps=value), facts) for value in (False, True))
    words = {step.name: step.words for step in halved.steps()}
    assert {name for name in words if "--half-maps" in words[name]} == {"label street", "label album"}
    assert not any("--half-maps" in step.words for step in plain.steps())
    album = next(one for one in halved.folders.train if one.name == "album")
    photos, labels = album.facts.images, [one.facts for one in halved.folders.train]
    maps = sum(disk._label(task, labels, album.facts.side) for task in ("depth", "normals"))
    assert disk._labelled(album, plain) - disk._labelled(album, halved) == pytest.approx(
        (1 - disk.HALVED) * photos * maps
    )
    checks.check(halved)


@pytest.mark.parametrize(
    ("key", "tasks"), [("confidence", "depth, normals"), ("half_maps", "depth, normals, segmentation")]
)
def test_an_option_for_labels_that_no_teacher_adds_is_a_mistake(key: str, tasks: str) -> None:
    plan = plan_of({"street": COCO, "album": ALBUM}, **{key: True})
    whole = trainings(plan, {"street": STREET_FACTS, "album": ALBUM_FACTS})
    with pytest.raises(UserError, match=f"{key}: it is for {tasks}, and no teacher of this plan labels"):
        checks.check(whole)


FROZEN = {"task": {"freeze_batch_norm": True}}


def test_settings_that_a_training_will_refuse_are_named_before_any_work(
    home: tuple[plan_lib.Plan, dict[str, Facts]],
) -> None:
    """Each is valid by itself. All trainings with the same mistake stand in one line."""
    plan, facts = home
    ready = trainings(plan, facts)
    checks.check(ready)
    for settings, message in (
        (
            FROZEN,
            "plan.yaml: teacher-masks, teacher-depth, teacher-normals, student: task.freeze_batch_norm keeps batch "
            "normalisation as it was loaded, but task.init_checkpoint is empty. Give trained weights (in a plan:",
        ),
        (
            {"trainer": {"validation_steps": 3}},
            "plan.yaml: teacher-masks, teacher-depth, teacher-normals, student: trainer.validation_steps=3",
        ),
    ):
        with pytest.raises(UserError) as error:
            checks.check(dataclasses.replace(ready, plan=dataclasses.replace(plan, settings=settings)))
        assert str(error.value).startswith(message)
    alone = dataclasses.replace(plan.student, settings=FROZEN)
    with pytest.raises(UserError, match=r"plan.yaml: student: task.freeze_batch_norm"):
        checks.check(dataclasses.replace(ready, plan=dataclasses.replace(plan, student=alone)))
    unmeasured = dataclasses.replace(ready.folders, validation=())
    patient = dataclasses.replace(plan, settings={"task": {"patience": 2}})
    with pytest.raises(UserError, match=r"task.patience counts evaluations, and --mode=train makes none"):
        checks.check(dataclasses.replace(ready, plan=patient, folders=unmeasured))


@pytest.mark.parametrize(
    ("everywhere", "own", "expected"),
    [({}, {}, None), ({"task": {"patience": 2}}, {}, 0), ({}, {"task": {"patience": 2}}, 0)],
)
def test_the_pace_is_measured_without_early_stopping(
    home: tuple[plan_lib.Plan, dict[str, Facts]], everywhere: Any, own: Any, expected: int | None
) -> None:
    """It counts evaluations, which this run does not make. A plan without it keeps the settings that it had."""
    plan, facts = home
    student = dataclasses.replace(plan.student, hours=2.0, settings=own)
    steps = trainings(dataclasses.replace(plan, settings=everywhere, student=student), facts).steps()
    (pace,) = (step for step in steps if step.name == trainings_lib.PACE_STEP)
    assert disk.config_of(pace)["task"].get("patience") == expected
    assert "--mode=train" in pace.words


def test_transfers_may_freeze_what_their_rows_have() -> None:
    facts = {"rooms": ROOMS_FACTS, "other": ROOMS_FACTS, "other-val": ROOMS_FACTS}
    other = {**ROOMS, "task": "depth", "validation": {"root": "elsewhere"}}
    for settings, problems in ((FROZEN, []), ({"task": {"freeze": ["bakbone"]}}, ["transfer other: task.freeze: "])):
        plan = plan_of({"rooms": ROOMS}, transfer={"other": {**other, "settings": settings}})
        try:
            checks.check(trainings(plan, facts))
            found = []
        except UserError as error:
            found = error.problems
        assert all(one.startswith(f"plan.yaml: {two}") for one, two in zip(found, problems, strict=True)), found
    random = plan_of({"rooms": ROOMS}, transfer={"other": {**other, "settings": FROZEN, "rows": ["random"]}})
    with pytest.raises(UserError, match=r"plan.yaml: transfer other: task.freeze_batch_norm"):
        checks.check(trainings(random, facts))


def test_a_model_that_exists_is_not_trained() -> None:
    plan = plan_of({"rooms": ROOMS, "album": ALBUM}, teachers={"classification": {"model": "m.yaml"}})
    steps = {step.name: step for step in trainings(plan, {"rooms": ROOMS_FACTS, "album": ALBUM_FACTS}).steps()}
    assert "teacher-classification" not in steps
    assert steps["label rooms"].words[3:5] == ("--teacher", "classification=m.yaml")
    (values,) = (make() for make in steps["student"].files.values())
    assert values["task"]["tasks"]["classification"]["enabled"]
    assert not values["task"]["tasks"]["detection"]["enabled"]


KINDS = {"format": "classes", "root": "kinds"}
KINDS_FACTS = Facts(400, {"classification": 400}, {"classification": ("cat", "dog")}, 64)


def with_a_model(out: Path | str = "o") -> Trainings:
    """Returns the trainings of a plan in which a model labels the rooms' classes."""
    plan = plan_of(
        {"kinds": KINDS, "rooms": ROOMS},
        teachers={"classification": {"model": "m.yaml"}},
        settings={"task": {"tasks": {"classification": {"loss_weight": 2.0}, "depth": {"loss": "berhu"}}}},
    )
    return trainings(dataclasses.replace(plan, out=str(out)), {"kinds": KINDS_FACTS, "rooms": ROOMS_FACTS})


def test_a_dry_run_trains_no_teacher_in_place_of_a_model() -> None:
    planned = with_a_model()
    samples = dataclasses.replace(planned, plan=dataclasses.replace(planned.plan, teachers={}))
    assert "teacher-classification" in names(samples.steps())
    assert names(pace.to_train(planned, samples)) == ["teacher-depth", "teacher-normals", "student"]


def test_a_model_that_exists_is_measured_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only on validation images with its labels, with the student's settings; and again if it changes."""
    described: list[tuple[str, tuple[str, ...]]] = []

    def describe(path: str, tasks: tuple[str, ...]) -> Any:
        described.append((path, tasks))
        return types.SimpleNamespace(about=types.SimpleNamespace(id="abc"))

    monkeypatch.setattr(teachers_lib, "describe", describe)
    first = with_a_model().steps()[0]
    assert first.name == "evaluate teacher-classification"
    given = ("--records", "o/records/kinds-val/*.tfrecord", "--teacher", "classification=m.yaml")
    settings = ("--config-file", "o/configs/teacher-classification.yaml")
    assert first.words == ("evaluate", *given, *settings, "--out", "o/teacher-classification.json")
    (values,) = (make() for make in first.files.values())
    assert values == {"task": {"tasks": {"classification": {"loss_weight": 2.0}}}}
    assert first.state() == "abc" and described == [("m.yaml", ("classification",))]
    (labels,) = (step for step in with_a_model().steps() if step.name == "label rooms")
    assert "abc" in labels.state()
    named = ("--classes-of", "o/records/kinds/*.tfrecord")  # the model may have others, and the rooms have none
    place = labels.words.index("--classes-of")
    assert labels.words[place : place + 2] == named and "o/records/kinds" in labels.needs


def test_tasks_that_nothing_measures_are_named(home: tuple[plan_lib.Plan, dict[str, Facts]]) -> None:
    """Of a small dataset, the photos that are set apart may all lack the labels of a task."""
    whole = trainings(*home)

    def warnings(**labelled: int) -> list[str]:
        counts = {"depth": 10, "detection": 10, "masks": 10, "normals": 10, **labelled}
        validation = tuple(
            dataclasses.replace(folder, facts=folder.facts._replace(labelled=counts if not place else {}))
            for place, folder in enumerate(whole.folders.validation)
        )
        return checks.unmeasured(
            dataclasses.replace(whole, folders=dataclasses.replace(whole.folders, validation=validation))
        )

    assert warnings() == []
    (line,) = warnings(normals=0)
    assert line.startswith("WARNING: no validation photo has labels of normals, so there will be no metrics.")
    (line,) = warnings(detection=9, masks=1)
    assert line.startswith("WARNING: very few validation photos have labels of detection (9), masks (1): the")
    assert len(warnings(normals=0, depth=3)) == 2


def test_a_tie_has_no_best() -> None:
    """Two zeros side by side are no success."""
    for teacher, student, best in ((0.0, 0.0, [False, False]), (0.1, 0.2, [False, True]), (0.2, 0.1, [True, False])):
        cells = report._cells(report.TableRow("masks", "AP", 9, teacher, student))
        assert [cell.best for cell in cells[3:5]] == best
        assert cells[2] == 9  # a number: aligned right


def test_the_table_shows_a_model_that_exists_or_why_not(tmp_path: Path) -> None:
    whole = with_a_model(tmp_path)
    student = {"figures": {"classification/top1": 0.75, "depth/delta1": 0.5}, "labelled": {"classification": 12}}
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "evaluation.json").write_text(json.dumps(student))

    def row(**evaluation: Any) -> report.TableRow:
        (tmp_path / "teacher-classification.json").write_text(json.dumps(evaluation))
        return next(row for row in report.rows(whole) if row.task == "classification")

    assert row(figures={"classification/top1": 0.5}).cells[2:] == ("12", 0.5, 0.75)
    assert row(figures={"classification/top1": 0.5}).gain() == 0.25
    (values,) = (make() for step in whole.steps() if step.name == "student" for make in step.files.values())
    assert values["task"]["tasks"]["classification"]["teacher_figure"] == 0.5
    assert values["task"]["balance"] == "fixed"  # its learning rate is not known
    assert row(figures={}, reasons={"classification": "other classes"}).cells[3:] == ("other classes", 0.75)
    (tmp_path / "teacher-classification.json").unlink()
    whole = dataclasses.replace(whole, folders=dataclasses.replace(whole.folders, validation=()))
    assert "evaluate teacher-classification" not in names(whole.steps())
    assert next(row for row in report.rows(whole)).cells[3:] == ("no labels to validate on", 0.75)


def test_the_page_names_labels_that_were_used_although_they_are_unfit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = with_a_model(tmp_path)
    name = whole.folders.train[0].name
    monkeypatch.setattr(report.verdict, "unfit", lambda folder, tasks: [f"depth: flat in {Path(folder).name}."])
    assert report._unfit(whole) == []  # nothing is labelled yet
    (tmp_path / "records" / f"{name}-labelled").mkdir(parents=True)
    (line,) = report._unfit(whole)
    assert line.startswith(f"The pseudo labels of '{name}' were judged unfit")
    assert line.endswith(f"depth: flat in {name}-labelled.")


def test_a_model_that_does_not_fit_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="teachers.classification: .*m.yaml.*there is no teacher"):
        checks.check(with_a_model())
    two = {"detection": {"model": "a"}, "masks": {"model": "b"}}
    with pytest.raises(UserError, match="teachers: detection and masks need one model"):
        checks.check(trainings(plan_of({"album": ALBUM}, teachers=two), {"album": ALBUM_FACTS}))
    for classes, refused in (["cow"], "m.yaml has no classification class of the records"), (["cow", "cat"], ""):
        about = About("m.yaml", ("classification",), "abc", {"classification": classes})
        monkeypatch.setattr(checks, "describe", lambda *_, about=about: types.SimpleNamespace(about=about))
        with pytest.raises(UserError, match=refused) if refused else contextlib.nullcontext():
            checks.check(with_a_model())


def test_a_model_labels_the_classes_of_the_validation_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a student of photos without labels has the model's classes, and cannot be measured."""
    plan = plan_of(
        {"album": ALBUM, "kinds": {**KINDS, "train": False, "validation": {}}},
        teachers={"classification": {"model": "m.yaml"}},
    )
    whole = trainings(plan, {"album": ALBUM_FACTS, "kinds": KINDS_FACTS, "kinds-val": KINDS_FACTS})
    (labels,) = (step for step in whole.steps() if step.name == "label album")
    assert labels.words[labels.words.index("--classes-of") + 1] == "o/records/kinds-val/*.tfrecord"
    assert "o/records/kinds-val" in labels.needs
    about = About("m.yaml", ("classification",), "abc", {"classification": ["cow"]})
    monkeypatch.setattr(checks, "describe", lambda *_: types.SimpleNamespace(about=about))
    with pytest.raises(UserError, match="m.yaml has no classification class of the records"):
        checks.check(whole)


def test_nothing_is_labelled_if_nothing_is_missing() -> None:
    facts = ROOMS_FACTS._replace(labelled={"depth": 200, "normals": 200})
    assert names(trainings(plan_of({"rooms": ROOMS}), {"rooms": facts}).steps()) == ["student"]


def test_datasets_with_other_classes_are_merged() -> None:
    plan = plan_of({"street": COCO, "rooms": ROOMS, "pets": COCO})
    _, folders = records.conversions(plan, {"street": STREET_FACTS, "rooms": ROOMS_FACTS, "pets": PETS_FACTS})
    merging, merged = records.merges(plan, folders)
    given = ("--records", "o/records/street/*.tfrecord", "--records", "o/records/pets/*.tfrecord")
    assert merging[0].words == ("merge", *given, "--out", "o/records/street+pets")
    assert [folder.name for folder in merged.train] == ["street+pets", "rooms"]
    assert merged.train[0].facts.classes == {"detection": ("car", "dog", "cat")}
    assert merged.train[0].facts.labelled == {"detection": 1350, "masks": 900}
    assert names(merging) == ["merge street+pets", "merge street+pets-val-merged"]
    given = ("--records", "o/records/street-val/*.tfrecord", "--records", "o/records/pets-val/*.tfrecord")
    numbers = ("--classes-of", "o/records/street+pets/*.tfrecord")
    assert merging[1].words == ("merge", *numbers, *given, "--out", "o/records/street+pets-val-merged")
    assert merging[1].needs == ("o/records/street+pets", "o/records/street-val", "o/records/pets-val")
    assert [folder.name for folder in merged.validation] == ["rooms-val", "street+pets-val-merged"]


def test_validation_data_of_one_of_them_gets_their_classes() -> None:
    """Both the validation data of a merged dataset and a dataset for validation only."""
    plan = plan_of({"street": {**COCO, "validation": False}, "pets": COCO})
    whole = trainings(plan, {"street": STREET_FACTS, "pets": PETS_FACTS})
    (one,) = whole.folders.validation
    assert one.name == "pets-val-merged" and one.facts.classes["detection"] == ("car", "dog", "cat")
    checks.check(whole)
    test = {**COCO, "train": False, "validation": {"images": "other"}}
    facts = {"street": STREET_FACTS, "test": PETS_FACTS, "test-val": PETS_FACTS}
    whole = trainings(plan_of({"street": {**COCO, "validation": False}, "test": test}), facts)
    with pytest.raises(UserError, match="test-val-merged: no training data has its detection classes cat"):
        checks.check(whole)
    facts["test-val"] = PETS_FACTS._replace(classes={"detection": ("dog",)})
    steps, folders = records.conversions(plan_of({"street": COCO, "test": test}), facts)
    merging, _ = records.merges(plan, folders)
    assert [step.words[1:5] for step in merging] == [
        ("--classes-of", "o/records/street/*.tfrecord", "--records", "o/records/test-val/*.tfrecord")
    ]


def test_students_see_a_dataset_as_often_as_the_plan_says() -> None:
    """Its teachers see each image once: nothing else is in their data. Members of a merged set must agree."""
    plan = plan_of({"rooms": {**ROOMS, "repeat": 10}, "album": ALBUM}, compare={"rooms-only": {"datasets": ["rooms"]}})
    steps = trainings(plan, {"rooms": ROOMS_FACTS, "album": ALBUM_FACTS}).steps()
    data = {
        step.name: next(iter(step.files.values()))()["task"]["train_data"] for step in steps if step.words[0] == "train"
    }
    assert data["student"]["repeats"] == [10, 1] and data["student rooms-only"]["repeats"] == [10]
    assert not any("repeats" in given for name, given in data.items() if name.startswith("teacher"))
    (line,) = report._repeated(trainings(plan, {"rooms": ROOMS_FACTS, "album": ALBUM_FACTS}))
    assert line == "An epoch of a student has each image of 'rooms' 10 times."
    facts = {"street": STREET_FACTS, "pets": PETS_FACTS}
    with pytest.raises(UserError, match="street and pets are merged.*Give all the same repeat|street, pets are merged"):
        checks.check(trainings(plan_of({"street": {**COCO, "repeat": 2}, "pets": COCO}), facts))


def test_a_merged_dataset_has_the_names_of_the_plan() -> None:
    """Whatever they end with: `compare` finds its datasets by them."""
    plan = plan_of({"street-val": COCO, "pets": COCO})
    _, folders = records.conversions(plan, {"street-val": STREET_FACTS, "pets": PETS_FACTS})
    assert records.merges(plan, folders)[1].train[0].members == ["street-val", "pets"]


def test_datasets_with_the_same_classes_are_not() -> None:
    plan = plan_of({"street": COCO, "more": COCO})
    _, folders = records.conversions(plan, {"street": STREET_FACTS, "more": STREET_FACTS})
    assert records.merges(plan, folders) == ([], folders)


def test_a_plan_without_labels_is_refused() -> None:
    with pytest.raises(UserError, match="no dataset has labels, and no teacher is given"):
        checks.check(trainings(plan_of({"album": ALBUM}), {"album": ALBUM_FACTS}))
    plan = plan_of({"rooms": ROOMS}, teachers={"segmentation": {"steps": 5}})
    with pytest.raises(UserError, match="teachers.segmentation: no dataset has segmentation labels"):
        checks.check(trainings(plan, {"rooms": ROOMS_FACTS}))


@pytest.mark.parametrize(
    ("labelled", "problem"),
    [
        ({}, "its objects are those of detection. Name the model for detection, too"),
        ({"detection": 400}, "its objects are those of detection"),
        ({"detection": 500}, "all images have real detection labels, and masks are only added together with these"),
    ],
)
def test_a_model_whose_masks_no_image_could_get_is_refused(
    labelled: dict[str, int], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_unfit_models", lambda whole: ())  # there is no such file
    plan = plan_of({"pets": COCO}, teachers={"masks": {"model": "m.yaml"}})
    with pytest.raises(UserError, match=f"teachers.masks: {problem}"):
        checks.check(trainings(plan, {"pets": PETS_FACTS._replace(labelled=labelled)}))
    both = {task: {"model": "m.yaml"} for task in ("detection", "masks")}
    facts = {"pets": PETS_FACTS._replace(labelled={**labelled, "masks": 1})}
    checks.check(trainings(plan_of({"pets": COCO}, teachers=both), facts))


def test_transfers_start_from_every_teacher_and_the_student() -> None:
    transfer = {"other": {**ROOMS, "task": "normals", "steps": 40, "seeds": 3}}
    plan = plan_of({"rooms": ROOMS, "album": ALBUM}, transfer=transfer)
    facts = {"rooms": ROOMS_FACTS, "album": ALBUM_FACTS, "other": ROOMS_FACTS}
    (step,) = (step for step in trainings(plan, facts).steps() if step.name == "transfers")
    rows = [f"{name}=o/{name}" for name in ("teacher-depth", "teacher-normals", "student")]
    given = [word for row in rows for word in ("--checkpoint", row)]
    shown = ["--gains_of", "student", "--out", "o/transfers"]
    assert list(step.words) == ["transfer", "--table", "o/configs/transfers.yaml", "--scratch", *given, *shown]
    table, column = (make() for make in step.files.values())
    rows = ["scratch", "teacher-depth", "teacher-normals", "student"]
    assert table == {
        "columns": {"other": {"task": "normals", "config_file": ["transfer-other.yaml"], "rows": rows, "seeds": 3}}
    }
    assert column["trainer"]["train_steps"] == 40
    assert column["task"]["train_data"]["input_path"] == ["o/records/other/*.tfrecord"]
    assert column["task"]["validation_data"]["input_path"] == ["o/records/other-val/*.tfrecord"]
    steps, _ = records.conversions(plan, facts)
    assert names(steps)[-2:] == ["convert other-val", "convert other"]
    assert step.parts == {
        "o/teacher-depth": ("teacher-depth",),
        "o/teacher-normals": ("teacher-normals",),
        "o/student": ("student",),
        "o/records/other": ("*/other",),
        "o/records/other-val": ("*/other",),
        "": (),
    }
    transfer["other"]["rows"] = ["student"]
    plan = plan_of({"rooms": ROOMS, "album": ALBUM}, transfer=transfer)
    (step,) = (step for step in trainings(plan, facts).steps() if step.name == "transfers")
    assert step.words[3:5] == ("--checkpoint", "student=o/student") and "--scratch" not in step.words


def test_a_transfer_to_several_tasks_converts_once_and_has_a_column_for_each() -> None:
    transfer = {"other": {**ROOMS, "task": ["depth", "normals"]}}
    plan = plan_of({"rooms": ROOMS, "album": ALBUM}, transfer=transfer)
    facts = {"rooms": ROOMS_FACTS, "album": ALBUM_FACTS, "other": ROOMS_FACTS}
    assert names(records.conversions(plan, facts)[0])[-2:] == ["convert other-val", "convert other"]
    whole = trainings(plan, facts)
    checks.check(whole)
    (step,) = (step for step in whole.steps() if step.name == "transfers")
    table, depth, normals = (make() for make in step.files.values())
    assert {name: (column["task"], column["config_file"]) for name, column in table["columns"].items()} == {
        "other-depth": ("depth", ["transfer-other-depth.yaml"]),
        "other-normals": ("normals", ["transfer-other-normals.yaml"]),
    }
    heads = [[task for task, head in one["task"]["tasks"].items() if head["enabled"]] for one in (depth, normals)]
    assert heads == [["depth"], ["normals"]]
    # 30 epochs of 180 images in batches of 8; a quarter of the images has no normals.
    assert [one["trainer"]["train_steps"] for one in (depth, normals)] == [680, 500]


def test_boxes_and_masks_of_a_transfer_are_two_columns_of_the_same_runs() -> None:
    transfer = {"city": {**COCO, "task": ["detection", "masks"]}}
    plan = plan_of({"street": COCO, "album": ALBUM}, transfer=transfer)
    facts = {"street": STREET_FACTS, "album": ALBUM_FACTS, "city": STREET_FACTS}
    whole = trainings(plan, facts)
    (step,) = (step for step in whole.steps() if step.name == "transfers")
    table, masks = (make() for make in step.files.values())
    assert table["columns"]["city-detection"] == {"task": "detection", "runs_of": "city-masks"}
    assert table["columns"]["city-masks"]["config_file"] == ["transfer-city-masks.yaml"]
    assert {task for task, head in masks["task"]["tasks"].items() if head["enabled"]} == {"detection", "masks"}
    assert list(disk.columns(step)) == ["city-masks"]


def test_every_transfer_has_its_own_rows() -> None:
    transfer: dict[str, dict[str, Any]] = {
        "one": {**ROOMS, "task": "depth", "rows": ["random", "start", "student", "depth-only"], "seeds": 3},
        "two": {**ROOMS, "task": "normals", "rows": ["teachers"]},
    }
    compare = {"depth-only": {"tasks": ["depth"]}, "not-named": {"labels": False}}
    plan = plan_of({"rooms": ROOMS, "album": ALBUM}, transfer=transfer, compare=compare, start="runs/other")
    facts = {"rooms": ROOMS_FACTS, "album": ALBUM_FACTS, "one": ROOMS_FACTS, "two": ROOMS_FACTS}
    (step,) = (step for step in trainings(plan, facts).steps() if step.name == "transfers")
    assert [word for word in step.words if "=" in word or word == "--scratch"] == [
        "--scratch",
        "start=runs/other",
        "teacher-depth=o/teacher-depth",
        "teacher-normals=o/teacher-normals",
        "student=o/student",
        "depth-only=o/compare/depth-only",
    ]
    columns = next(iter(step.files.values()))()["columns"]
    assert columns["one"]["rows"] == ["scratch", "start", "student", "depth-only"] and columns["one"]["seeds"] == 3
    assert columns["two"]["rows"] == ["teacher-depth", "teacher-normals"] and columns["two"]["seeds"] == 1
    assert {"o/student", "o/compare/depth-only", "o/teacher-depth"} <= {*step.needs}
    transfer["two"]["rows"] = ["compare"]
    plan = plan_of({"rooms": ROOMS, "album": ALBUM}, transfer=transfer, compare=compare, start="runs/other")
    (step,) = (step for step in trainings(plan, facts).steps() if step.name == "transfers")
    assert next(iter(step.files.values()))()["columns"]["two"]["rows"] == list(compare)


def test_students_to_compare_differ_only_in_what_the_plan_says(home: tuple[plan_lib.Plan, dict[str, Facts]]) -> None:
    compare = {
        "real": {"labels": False},
        "boxes": {"tasks": ["detection", "masks"]},
        "indoors": {"datasets": ["rooms"], "steps": 100, "settings": {"task": {"input_size": 128}}},
    }
    plan = plan_of(
        {"street": COCO, "rooms": ROOMS, "album": ALBUM},
        compare=compare,
        student={"settings": {"trainer": {"max_to_keep": 3}}},
    )
    steps = trainings(plan, home[1]).steps()
    assert names(steps)[-4:] == ["student", "student real", "student boxes", "student indoors"]
    student, real, boxes, indoors = (next(iter(step.files.values()))() for step in steps[-4:])
    assert [step.output for step in steps[-3:]] == [f"o/compare/{name}" for name in compare]

    def inputs(values: Mapping[str, Any]) -> list[str]:
        return [path.split("/")[2] for path in values["task"]["train_data"]["input_path"]]

    def heads(values: Mapping[str, Any]) -> set[str]:
        return {task for task, head in values["task"]["tasks"].items() if head["enabled"]}

    assert inputs(student) == inputs(boxes) == ["street-labelled", "rooms-labelled", "album-labelled"]
    assert inputs(real) == ["street", "rooms"]  # the album has no labels
    assert inputs(indoors) == ["rooms-labelled"]
    assert heads(student) == heads(real) == heads(indoors) == {"detection", "masks", "depth", "normals"}
    assert heads(boxes) == {"detection", "masks"}
    counts = [values["trainer"]["train_steps"] for values in (student, real, boxes, indoors)]
    assert counts[0] == counts[1] == counts[2] != counts[3] == 100
    assert (
        indoors["trainer"]["max_to_keep"] == 3 and indoors["task"]["input_size"] == 128 != student["task"]["input_size"]
    )


def test_crowded_photos_raise_the_limits_of_a_run(home: tuple[plan_lib.Plan, dict[str, Facts]]) -> None:
    """Of the runs that see them, and only where the plan sets none."""
    plan, facts = home
    facts = facts | {"street": STREET_FACTS._replace(objects=100)}
    by_name = {step.name: step for step in trainings(plan, facts).steps()}
    heads = {
        name: next(iter(by_name[name].files.values()))()["task"]["tasks"]
        for name in ("teacher-masks", "teacher-depth", "student")
    }
    for name in ("teacher-masks", "student"):
        assert heads[name]["detection"]["max_detections"] == heads[name]["masks"]["max_objects"] == 125
    assert heads["teacher-depth"]["masks"]["max_objects"] == 50
    own = {"task": {"tasks": {"masks": {"max_objects": 70}}}}
    planned = plan_of({"street": COCO, "rooms": ROOMS, "album": ALBUM}, settings=own)
    (student,) = (step for step in trainings(planned, facts).steps() if step.name == "student")
    assert next(iter(student.files.values()))()["task"]["tasks"]["masks"]["max_objects"] == 70


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({"datasets": ["one"]}, "compare.x.datasets: one, two are merged, because their classes differ. Name all."),
        ({"tasks": ["masks"]}, "compare.x: there are no masks labels to learn"),
        ({"tasks": ["detection", "depth"], "labels": False}, "compare.x: there are no depth labels to learn"),
        ({"datasets": ["album"], "labels": False}, "compare.x: there is nothing to learn without pseudo labels"),
    ],
)
def test_a_student_that_cannot_learn_is_refused_before_any_work(entry: dict[str, Any], problem: str) -> None:
    model = {"depth": {"model": "m.yaml"}}
    plan = plan_of({"one": COCO, "two": COCO, "album": ALBUM}, compare={"x": entry}, teachers=model)
    boxes = STREET_FACTS._replace(labelled={"detection": 1000})
    with pytest.raises(UserError, match=re.escape(problem)):
        checks.check(trainings(plan, {"one": boxes, "two": PETS_FACTS, "album": ALBUM_FACTS}))


def test_merged_datasets_are_labelled_together() -> None:
    plan = plan_of({"one": COCO, "two": COCO, "rooms": ROOMS}, teachers={"depth": {"labels": ["one"]}})
    boxes = STREET_FACTS._replace(labelled={"detection": 1000})
    facts = {"one": boxes, "two": PETS_FACTS, "rooms": ROOMS_FACTS}
    with pytest.raises(UserError, match=r"teachers\.depth\.labels: one, two are merged, .* Name all\."):
        checks.check(trainings(plan, facts))


def test_a_transfer_that_cannot_be_measured_is_refused_before_any_work() -> None:
    facts = {"rooms": ROOMS_FACTS, "other": ROOMS_FACTS}
    for change, problem in (
        ({"task": ["depth", "masks"]}, "transfer.other: there are no masks labels."),
        ({"task": "depth", "validation": False}, "transfer.other: there is no validation data"),
    ):
        plan = plan_of({"rooms": ROOMS}, transfer={"other": {**ROOMS, **change}})
        with pytest.raises(UserError, match=problem):
            checks.check(trainings(plan, facts))


def test_hours_need_a_measured_pace() -> None:
    plan = plan_of({"rooms": ROOMS, "album": ALBUM}, student={"hours": 2})
    steps = trainings(plan, {"rooms": ROOMS_FACTS, "album": ALBUM_FACTS}).steps()
    assert names(steps)[-2:] == ["measure the student's pace", "student"]
    pace, student = steps[-2:]
    assert "--mode=train" in pace.words and "--model_dir=o/pace" in pace.words
    assert "o/pace" in student.needs


def test_hours_become_steps(tmp_path: Path) -> None:
    plan = dataclasses.replace(plan_of({"rooms": ROOMS}, student={"hours": 2}), out=str(tmp_path))
    facts = ROOMS_FACTS._replace(labelled={"depth": 200, "normals": 200})
    (tmp_path / "pace").mkdir()
    lines = [{"step": 20, "images_per_second": 3.0}, {"step": 40, "images_per_second": 50.0}]
    (tmp_path / "pace" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "pace" / "params.yaml").write_text("task: {train_data: {global_batch_size: 10}}")
    _, student = trainings(plan, {"rooms": facts}).steps()
    (values,) = (make() for make in student.files.values())
    assert values["trainer"]["train_steps"] == 32_400  # 0.9 * 7,200 s * 50 / 10
    assert values["trainer"]["optimizer_config"]["learning_rate"]["cosine"]["decay_steps"] == 32_400


@pytest.mark.parametrize(
    ("name", "content"),
    [("metrics.jsonl", ""), ("metrics.jsonl", "{"), ("params.yaml", "task: 1"), ("params.yaml", "[]")],
)
def test_a_damaged_measurement_of_the_pace_is_named(name: str, content: str, tmp_path: Path) -> None:
    plan = dataclasses.replace(plan_of({"rooms": ROOMS}, student={"hours": 2}), out=str(tmp_path))
    (tmp_path / "pace").mkdir()
    (tmp_path / "pace" / "metrics.jsonl").write_text('{"step": 40, "images_per_second": 50.0}')
    (tmp_path / "pace" / "params.yaml").write_text("task: {train_data: {global_batch_size: 10}}")
    (tmp_path / "pace" / name).write_text(content)
    _, student = trainings(plan, {"rooms": ROOMS_FACTS._replace(labelled={"depth": 200, "normals": 200})}).steps()
    (make,) = student.files.values()
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "pace" / name))):
        make()


def test_other_weights_to_start_from_are_noticed(tmp_path: Path) -> None:
    """By their content, which a checkpoint's index sums up."""
    other = {**ROOMS, "task": "depth", "steps": 40}
    plan = plan_of({"rooms": ROOMS, "album": ALBUM}, transfer={"other": other})
    facts = {"rooms": ROOMS_FACTS, "album": ALBUM_FACTS, "other": ROOMS_FACTS}
    start = {"task": {"init_checkpoint": str(tmp_path / "ckpt-1")}}
    whole = dataclasses.replace(trainings(plan, facts), start=start)

    def states(content: str) -> dict[str, str]:
        (tmp_path / "ckpt-1.index").write_text(content)
        return {step.name: step.state() for step in whole.steps() if step.words[0] in ("train", "transfer")}

    before, now, again = states("a"), states("b"), states("a")
    assert {*before} == {"teacher-depth", "teacher-normals", "student", "transfers"}
    assert all(before[name] != now[name] for name in before)
    assert again == before


def test_settings_of_all_teachers_are_those_of_teachers_without_their_own() -> None:
    teachers = {"all": {"steps": 40}, "depth": {"steps": 60}}
    plan = plan_of({"rooms": ROOMS, "album": ALBUM}, teachers=teachers)
    steps = {step.name: step for step in trainings(plan, {"rooms": ROOMS_FACTS, "album": ALBUM_FACTS}).steps()}
    counts = {}
    for name in ("teacher-depth", "teacher-normals", "student"):
        (make,) = steps[name].files.values()
        counts[name] = make()["trainer"]["train_steps"]
    assert counts == {"teacher-depth": 60, "teacher-normals": 40, "student": 3000}  # 30 epochs, but at most 3,000
