"""The counts that labelling reports, compared with counts by hand from the images' colours.

See `tests.support.formula_teacher`.
"""

from __future__ import annotations

import itertools
import json
import pickle
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import tensorflow as tf

from must_tf.common.errors import UserError
from must_tf.data import manifest, record
from tests.support import formula_teacher
from tests.support.converting import must_records
from tests.support.formula_teacher import image_record, origins, results
from tests.support.merging import merged
from tfrecords_tools import teachers
from tfrecords_tools.label import job, run
from tfrecords_tools.label.arguments import parse_request
from tfrecords_tools.label.parallelism import JobPart
from tfrecords_tools.label.results import TaskResult, lines, per_task
from tfrecords_tools.writing import beam, shards

# Green is 0, 101, 202, 47, 148, 249 of images 0 to 5: the formula finds a box in 2, 4 and 5.
MIXED = [
    [image_record(0), image_record(1), image_record(2, {"depth": "real:a"})],
    [
        image_record(3, {"detection": "real:a"}, (1,)),
        image_record(4, {"depth": "pseudo:old"}),
        image_record(5, {"detection": "pseudo:old"}),
    ],
]


def test_each_image_is_counted_once(tmp_path: Path) -> None:
    task_results = results(formula_teacher.write(tmp_path / "in", MIXED), tmp_path / "out")
    # depth lacks in 0, 1, 3, 5; detection in 0, 1, 2, 4, of which 0 and 1 show nothing.
    assert task_results["depth"] == (4, 0, 0, 1, 0, 1, 0, "")
    assert task_results["detection"] == (4, 2, 0, 1, 1, 1, 0, "")
    written = manifest.read(str(tmp_path / "out"))
    assert written.notes == {"detection: labelled, nothing found": {"count": 2, "examples": ["0", "1"]}}
    assert written.limits == {"detection": {"partial": 1}}


def test_a_pattern_that_is_named_can_be_pasted(tmp_path: Path) -> None:
    """Also if its folder has a blank."""
    folder = tmp_path / "my photos"
    formula_teacher.write(folder, MIXED)
    with pytest.raises(UserError, match=f"Give its files, in quotes: '{folder}/\\*.tfrecord'"):
        parse_request(str(folder), ["depth=nowhere"])
    odd = formula_teacher.write(tmp_path / "bob's", MIXED).replace("/*.tfrecord", "")
    with pytest.raises(UserError) as error:
        parse_request(odd, ["depth=nowhere"])
    (shown,) = re.findall(r"in quotes: (.*)", str(error.value).splitlines()[1])
    assert shlex.split(shown) == [f"{odd}/*.tfrecord"]


def test_a_teacher_that_labels_nothing_is_warned_of(tmp_path: Path) -> None:
    """A classifier leaves images alone that show none of the records' classes."""
    request = formula_teacher.request(
        formula_teacher.write(tmp_path / "in", MIXED), formula_teacher.teacher(("depth",))
    )
    nothing = TaskResult(0, 0, 0, 0, 0, 0, left=6, why="")
    counted, warning = lines({"depth": nothing}, request)
    assert counted == "  depth by formula/f0: 0 images labelled; 6 left without labels"
    assert warning.startswith("WARNING: formula/f0 has labelled no image for depth, and 6 have no label.")
    assert len(lines({"depth": nothing._replace(why="its boxes come from another source")}, request)) == 1


def test_only_labels_of_other_teachers_are_replaced(tmp_path: Path) -> None:
    records = formula_teacher.write(tmp_path / "in", MIXED)
    task_results = results(records, tmp_path / "out", replace=["depth"])
    assert task_results["depth"] == (5, 0, 1, 1, 0, 0, 0, "")
    assert task_results["detection"] == (4, 2, 0, 1, 1, 1, 0, "")
    assert [each["depth"] for each in origins(tmp_path / "out")] == [
        *("pseudo:f0", "pseudo:f0", "real:a", "pseudo:f0", "pseudo:f0", "pseudo:f0")
    ]
    assert origins(tmp_path / "out")[5]["detection"] == "pseudo:old"
    written = list(tf.data.TFRecordDataset(str(tmp_path / "out" / shards.names(2)[1])).as_numpy_iterator())
    labels = record.read_labels(
        written[1], formula_teacher.discover(), {"depth": formula_teacher.discover()["depth"].Config()}
    )
    assert labels["depth"].labels["metres"].max() == pytest.approx(
        1 + 4 * 37 / 64, abs=1e-3
    )  # not the old label of 2 m


def test_partial_labels_that_are_replaced_are_not_left_as_they_are(tmp_path: Path) -> None:
    """Neither are the new ones of a teacher that does not know all classes."""
    partly = [
        image_record(number, {"detection": origin}, (1,)) for number, origin in enumerate(("real:a", "pseudo:old"))
    ]
    records = formula_teacher.write(tmp_path / "in", [[*partly, image_record(2)]])
    whole = formula_teacher.teacher(("detection",))
    knowing = formula_teacher.teacher(("detection",), "f1")
    knowing = knowing._replace(about=knowing.about._replace(annotated={"detection": (1,)}))
    counts: list[int] = []
    for teacher, replace in itertools.product((whole, knowing), ([], ["detection"])):
        label_request = formula_teacher.request(records, teacher, replace=replace)
        result = formula_teacher.labelled(label_request, tmp_path / str(len(counts)))
        assert result.manifest
        counts.append(per_task(result.source, result.manifest, label_request)["detection"].partial)
    assert counts == [2, 1, 2, 1]


def test_what_is_labelled_already_is_no_work(tmp_path: Path) -> None:
    """Complete records are refused instead of copied, unless there are labels to replace."""
    records = formula_teacher.write(
        tmp_path / "in", [[image_record(0, {"depth": "real:a"}), image_record(1, {"depth": "pseudo:old"})]]
    )
    with pytest.raises(UserError, match=r"all 2 images already have depth labels \(depth: 1 pseudo:old, 1 real:a"):
        formula_teacher.labelled(formula_teacher.request(records), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert formula_teacher.labelled(formula_teacher.request(records, replace=["depth"]), tmp_path / "out").manifest
    old = formula_teacher.teacher(teacher_id="old")
    with pytest.raises(UserError, match="already have depth labels"):  # only its own labels to replace
        records = formula_teacher.write(tmp_path / "by old", [[image_record(1, {"depth": "pseudo:old"})]])
        formula_teacher.labelled(formula_teacher.request(records, old, replace=["depth"]), tmp_path / "other")


def test_what_is_labelled_once_more_is_no_new_empty_image(tmp_path: Path) -> None:
    """Images 0 and 1 are empty, and the teacher has labelled 0 before. Replacing that changes nothing."""
    records = formula_teacher.write(
        tmp_path / "in", [[image_record(0, {"detection": "pseudo:f0"}), image_record(1), image_record(2)]]
    )
    for number, replace in enumerate(([], ["detection"])):
        out = tmp_path / str(number)
        assert results(records, out, replace=replace)["detection"] == (2, 1, 0, 0, 0, 1, 0, "")
        assert manifest.read(str(out)).notes == {"detection: labelled, nothing found": {"count": 1, "examples": ["1"]}}


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        (["normals"], r"--replace normals: there is no --teacher for 'normals'"),
        (["dept"], r"--replace dept: there is no --teacher for 'dept'. Did you mean 'depth'"),
        (["masks"], r"--replace masks: masks need the detection of the same teacher. Add --replace detection"),
        (["detection"], r"has masks of another teacher, .*Add --teacher masks=... and --replace masks"),
    ],
)
def test_what_cannot_be_replaced(
    replace: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = formula_teacher.write(tmp_path / "in", [[image_record(0, {"detection": "pseudo:old"})]])
    path = tmp_path / "in" / manifest.NAME
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"origins": content["origins"] | {"masks": {"pseudo:old": 1}}}))
    monkeypatch.setattr(teachers, "describe", lambda path, tasks: formula_teacher.teacher(tasks))
    with pytest.raises(UserError, match=message):
        parse_request(records, ["depth=a", "detection=a", "masks=a"], replace)


def test_the_manifest_says_who_the_teacher_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is that of the first job. Earlier teachers stay; a teacher without labels is left out."""
    times = iter(["2031-01-01T00:00:00Z", "2031-01-02T00:00:00Z"])
    monkeypatch.setattr(run, "_now", lambda: next(times))
    before = {"path": "old", "kind": "export", "tasks": ["depth"], "time": "2030-01-01T00:00:00Z"}
    records = formula_teacher.write(tmp_path / "in", MIXED, old=before, unused={"path": "none"})
    for number in (1, 2):
        formula_teacher.labelled(formula_teacher.request(records), tmp_path / "out", part=JobPart(number, 2))
    expected = {
        "path": "formula/f0",
        "kind": "adapter",
        "tasks": ["depth"],
        "step": 7,
        "input_size": None,
        "time": "2031-01-01T00:00:00Z",
        "floors": {},
        "units": {"depth": "metres"},
        "trained_on": {},
        "licence": "",
        "notes": [],
    }
    assert manifest.read(str(tmp_path / "out")).teachers == {"f0": expected, "old": before}


def test_merged_sets_keep_their_teachers(tmp_path: Path) -> None:
    """Entries with the same id are united: all tasks, the earlier time. The first set's label wins for image 1."""
    first = {"path": "a", "tasks": ["depth"], "time": "2031-02-01T00:00:00Z", "units": {"depth": "metres"}}
    other = {"path": "b", "tasks": ["detection"], "time": "2031-01-01T00:00:00Z", "units": {"detection": "boxes"}}
    images = [
        [image_record(0, {"depth": "pseudo:t"}), image_record(1, {"depth": "real:x"})],
        [image_record(1, {"depth": "pseudo:gone"})],
    ]
    patterns = [
        formula_teacher.write(tmp_path / "a", [images[0]], t=first),
        formula_teacher.write(
            tmp_path / "b", [[image_record(2, {"detection": "pseudo:t"}), *images[1]]], t=other, gone={"path": "c"}
        ),
    ]
    assert merged(tmp_path / "out", patterns).teachers == {
        "t": {
            "path": "a",
            "tasks": ["depth", "detection"],
            "time": "2031-01-01T00:00:00Z",
            "units": {"depth": "metres", "detection": "boxes"},
        }
    }


def test_a_manifest_from_before_has_no_teachers(tmp_path: Path) -> None:
    formula_teacher.write(tmp_path, [[image_record(0)]])
    content = json.loads((tmp_path / manifest.NAME).read_text())
    del content["teachers"]
    (tmp_path / manifest.NAME).write_text(json.dumps(content))
    assert manifest.read(str(tmp_path)).teachers == {}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs `must label` on the mixed records with the formula; returns the exit code."""
    records = formula_teacher.write(tmp_path / "in", MIXED)
    monkeypatch.setattr(teachers, "describe", lambda path, tasks: formula_teacher.teacher(tasks))

    def run_command(*given: str) -> int:
        words = ["label", "--records", records, "--teacher", "depth=f", "--out", str(tmp_path / "out"), *given]
        return must_records(words, monkeypatch)

    return run_command


def test_the_command_tells_people_and_programs(
    command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json, stdout has nothing else, not even the table of the teacher's weights."""
    job._loaded.clear()
    assert command("--shard", "1/3", "--json") == 0
    printed = capsys.readouterr()
    mine = {"finished": 1, "shards": 2, "mine": 1, "manifest": None}
    assert json.loads(printed.out) == {"out": str(tmp_path / "out")} | mine
    assert "1 of 2 shards are finished, 1 of them by this job" in printed.err and "restored weights" in printed.err
    assert command("--shard", "3/3") == 0
    assert "none by this job: there are more jobs than shards" in capsys.readouterr().out
    assert command("--shard", "2/3", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["records"] == 6
    assert content["tasks"]["depth"]["labelled"] == 4 and content["tasks"]["depth"]["others"] == 1
    assert command() == 0
    assert (
        "  depth by formula/f0: 4 images labelled; 1 have real labels; 1 already had a teacher's labels\n"
        in capsys.readouterr().out
    )
    words = manifest.read(str(tmp_path / "out")).command
    assert "--shard" not in words and words[:2] == ["must-records", "label"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--shard", "3/2"], "--shard 3/2: JOB must be between 1 and JOBS"),
        (["--workers", "-1"], "--workers must be 0"),
        (["--shard", "1/2", "--runner", "DirectRunner"], "--shard and --runner exclude each other"),
        (["--workers", "2", "--runner", "DirectRunner"], "--workers and --runner exclude each other"),
        (["--runner", "DirectRuner"], "Did you mean 'DirectRunner'"),
        (["--replace", "masks"], "--replace masks: there is no --teacher for 'masks'"),
    ],
)
def test_what_does_not_fit_is_one_message(
    given: list[str], message: str, command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*given) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ") and message in line
    assert not (tmp_path / "out").exists()


def test_a_pipeline_makes_the_same_shards(
    command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beam is a loop here, see test_beam.py. Its input can travel to other machines."""
    formula_teacher.labelled(formula_teacher.request(str(tmp_path / "in" / "*.tfrecord")), tmp_path / "alone")
    planned: list[str] = []

    def pipeline(paths: Sequence[str], arguments: Sequence[str]) -> None:
        assert arguments == ["--runner=DirectRunner", "--direct_num_workers=2"]
        planned.extend(paths)
        for path in paths:
            assert pickle.loads(Path(path).read_bytes())[0] is job.write_shard
            beam.make(path)

    monkeypatch.setattr(beam, "require", lambda runner: None)
    monkeypatch.setattr(beam, "_run_pipeline", pipeline)
    assert command("--runner", "DirectRunner", "--runner-options", "--direct_num_workers=2") == 0
    assert len(planned) == 2
    assert {
        name: each for name, each in formula_teacher.content(tmp_path / "out").items() if name != manifest.NAME
    } == {name: each for name, each in formula_teacher.content(tmp_path / "alone").items() if name != manifest.NAME}
