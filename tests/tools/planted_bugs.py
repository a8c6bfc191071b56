"""Plants bugs one by one and checks that tests catch them: `python -m tests.tools.planted_bugs [WORD] [--jobs 2]`.

Each bug is planted in a copy of the project. The tests named beside it run there and must fail. Bugs that no test
catches are listed at the end.
"""

# ruff: noqa: E501  # a table: one mutant, one line

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("must_tf", "tfrecords_tools", "experiments", "benchmarks", "tests")
LIBRARIES = (
    "tensorflow",
    "tf_keras",
    "cv2",
    "scipy.ndimage",
    "PIL.Image",
    "official.core.train_lib",
    "official.vision.registry_imports",
)


class Mutant(NamedTuple):
    """A bug: its name, the file, the text that is replaced and its replacement, and the tests that must notice."""

    breaks: str
    file: str
    old: str
    new: str
    tests: str  # the test file below tests/ without .py, with "::expression" (pytest -k) if a part of it is enough


TASKS = "must_tf/tasks/"
GEOMETRY = "must_tf/data/geometry.py"
MUTANTS = (
    Mutant("keras warns of variables without a gradient", "must_tf/training/task.py", " if pair[0] is not None]", "]", "must_tf/training/test_preflight::resumes_from_its_checkpoint"),
    Mutant("a line for each network that is traced", "must_tf/common/process_setup.py", "return RETRACED not in record.getMessage()", "return True", "must_tf/common/test_process_setup::tracing"),
    Mutant("limits of a job are not seen", "must_tf/common/devices.py", "for path in (group, *group.parents)]", "for path in (Path(),)]", "must_tf/common/test_devices::cores_of_a_job"),
    Mutant("files in memory count as used", "must_tf/common/devices.py", "int(usage.read_text()) + _cached(group), 0))", "int(usage.read_text()), 0))", "must_tf/training/test_batch_size::limit_of_a_job"),
    Mutant("tensorflow has a thread for each core of the machine", "must_tf/common/process_setup.py", "os.environ.setdefault(name, str(cores))", "pass", "must_tf/common/test_process_setup::thread_for_each"),
    Mutant("each process of label has all cores of the job", "tfrecords_tools/label/parallelism.py", "own_cores() // count", "own_cores()", "tfrecords_tools/label/test_parallelism::shared_out"),
    Mutant("an export has no licences", "must_tf/cli/export.py", '"licences": fingerprint.licences(model_dir)', '"licences": list[str]()', "must_tf/cli/test_export::licences"),
    Mutant("keys of panoptic segments are silent", "tfrecords_tools/sources/coco/coco_surface.py", "            notes += coco_keys.unused(\"segment\", segment, coco_keys.SEGMENT, place)\n", "            pass\n", "tfrecords_tools/sources/test_coco_surfaces::panoptic_json_says"),
    Mutant("keys of stuff masks are silent", "tfrecords_tools/sources/coco/coco_surface.py", "            notes += coco_keys.unused(\"segmentation\", annotation, coco_keys.STUFF, f\"{path}: image {image_id}\")\n", "            pass\n", "tfrecords_tools/sources/test_coco_surfaces::stuff_json_says"),
    Mutant("the last of several panoptic entries is used", "tfrecords_tools/sources/coco/coco_index.py", "            if before and before != (text,):", "            if False:", "tfrecords_tools/sources/test_coco_surfaces::contradicts"),
    Mutant("a segment of two classes has the first", "tfrecords_tools/sources/coco/coco_json.py", "            several.add(int(number))\n", "            pass\n", "tfrecords_tools/sources/test_coco_surfaces::contradicts"),
    Mutant("a pixel in masks of two classes has the last", "tfrecords_tools/sources/coco/coco_surface.py", "key=lambda region: -region[0][1::2].sum())", "key=lambda region: 0)", "tfrecords_tools/sources/test_coco_surfaces::overlap"),
    Mutant("of two equal masks the last is on top", "tfrecords_tools/sources/coco/coco_surface.py", "        classes[others & (sizes == size)] = IGNORE  # of two masks of one size, neither is in front\n", "", "tfrecords_tools/sources/test_coco_surfaces::overlap"),
    Mutant("the page hides an overruled verdict", "must_tf/pseudo_gate/verdict.py", "failed = of_folder(folder).failed", "failed = {}", "must_tf/serving/test_companions::unfit"),
    Mutant("an interrupted attempt took no time", "must_tf/loop/steps.py", 'before.get("seconds", 0.0) if', "0.0 if", "must_tf/loop/test_steps::interrupted"),
    Mutant("a stuff id for two files labels one", "tfrecords_tools/sources/coco/coco_surface.py", "        if content.count and not content.is_one(image_id):\n            return None\n", "", "tfrecords_tools/sources/test_coco_surfaces::labels_neither"),
    Mutant("LVIS: an image without negatives has all", "tfrecords_tools/sources/coco/coco.py", "if index.is_federated else item", "if coco_keys.NEGATIVE in image else item", "tfrecords_tools/sources/test_coco_entries::looked_for"),
    Mutant("LVIS: what may be missing is complete", "tfrecords_tools/sources/coco/federated.py", "(present | negative) - partial", "present | negative", "tfrecords_tools/sources/test_oddities::outcome"),
    Mutant("VIA: what stands beside a shape is part of it", "tfrecords_tools/sources/drawn/via.py", "        shape, place = region[SHAPE],", "        shape, place = {**region[OTHERS], **region[SHAPE]},", "tfrecords_tools/sources/drawn/test_via::beside_its_shape"),
    Mutant("VIA: a CSV's lines of one name are one image", "tfrecords_tools/sources/drawn/via_csv.py", "image = json.dumps([row[NAME], row.get(SIZE, \"\")])", "image = json.dumps([row[NAME]])", "tfrecords_tools/sources/drawn/test_via::costs_only_itself"),
    Mutant("names in annotations keep decomposed accents", "tfrecords_tools/sources/drawn/pictures.py", "    for picture in map(_composed, pictures):", "    for picture in pictures:", "tfrecords_tools/sources/drawn/test_labelme::any_type"),
    Mutant("labelme: turned rectangles are silent", "tfrecords_tools/sources/drawn/labelme.py", "        if kind == \"rectangle\" and not _is_upright(shape.get(\"points\")):", "        if False:", "tfrecords_tools/sources/drawn/test_labelme::other_corners"),
    Mutant("VOC: the first of two photos of a name is used", "tfrecords_tools/sources/voc_files.py", "                photos.names[stem], other = other, photos.names[stem]", "                pass", "tfrecords_tools/sources/test_voc::two_photos"),
    Mutant("hugging face: the first file numbers the classes of all", "tfrecords_tools/sources/published/hugging_face.py", "            if mine != first:", "            if False:", "tfrecords_tools/sources/published/test_hugging_face::differently"),
    Mutant("a YAML key may stand twice", "must_tf/common/yaml_keys.py", "                if (key.tag, key.value) in seen:", "                if False:", "must_tf/config/test_yaml_files::once"),
    Mutant("webdataset: images without a class are silent", "tfrecords_tools/sources/published/webdataset.py", "        for item in found if names else ():", "        for item in ():", "tfrecords_tools/sources/published/test_webdataset::sample_is"),
    Mutant("the mask of a box that is not there is an object", "tfrecords_tools/sources/drawn/open_images.py", "        entries = [entry for entry in entries if entry not in absent]\n", "", "tfrecords_tools/sources/drawn/test_open_images::not_there"),
    Mutant("a number of YOLO may mean two classes", "tfrecords_tools/sources/drawn/yolo_data.py", "            if finder.spelled(name) != finder.spelled(known):", "            if False:", "tfrecords_tools/sources/drawn/test_yolo::beside_data_yaml"),
    Mutant("keys of a COCO file are silent", "tfrecords_tools/sources/coco/coco_index.py", "            account.notes.add(f\"file: {key} is set and not used\", path)", "            pass", "tfrecords_tools/sources/test_coco_entries::beside_its_entries"),
    Mutant("keys of COCO's categories are silent", "tfrecords_tools/sources/coco/coco.py", "        coco_keys.note_categories(categories, account)\n", "", "tfrecords_tools/sources/test_coco_entries::beside_its_entries"),
    Mutant("subsets of CVAT become one", "tfrecords_tools/sources/drawn/cvat.py", "if len(subsets) > 1:", "if False:", "tfrecords_tools/sources/drawn/test_cvat::beside_its_images"),
    Mutant("declared classes of no region are silent", "tfrecords_tools/sources/drawn/via.py", "                account.notes.add(UNDRAWN, option)", "                pass", "tfrecords_tools/sources/drawn/test_via::does_not_declare"),
    Mutant("attributes of VOC's boxes are silent", "tfrecords_tools/sources/voc.py", "    for child in (*element.iterfind(\"bndbox\"), *corners):", "    for child in ():", "tfrecords_tools/sources/test_voc::counted_by_its_name"),
    Mutant("export-yolo: a rectangle may be an oriented box", "tfrecords_tools/export/yolo.py", "if len(corners) == FOUR else corners", "if False else corners", "tfrecords_tools/export/test_yolo::without_an_option"),
    Mutant("a class that VIA does not declare is silent", "tfrecords_tools/sources/drawn/via.py", "if name and attribute.options and name not in attribute.options:", "if False:", "tfrecords_tools/sources/drawn/test_via::declare"),
    Mutant("a box that is not there is an object", "tfrecords_tools/sources/drawn/open_images.py", "            if _confidence(row) == 0:\n                account", "            if False:\n                account", "tfrecords_tools/sources/drawn/test_open_images::not_there"),
    Mutant("machines say what is not there", "tfrecords_tools/sources/drawn/open_images.py", "row.get(SOURCE) == MACHINE or _confidence(row) not in (0, 1)", "_confidence(row) not in (0, 1)", "tfrecords_tools/sources/drawn/test_open_images::looked_for"),
    Mutant("elements of an XML's image are silent", "tfrecords_tools/sources/voc.py", "    _note_unused_of_image(root, path, account)\n", "", "tfrecords_tools/sources/test_voc::counted_by_its_name"),
    Mutant("panoptic ids that are no colours are silent", "tfrecords_tools/sources/coco/coco_surface.py", "(NO_COLOUR, segments.no_colour)", "(NO_COLOUR, ())", "tfrecords_tools/sources/test_coco_surfaces::no_colour"),
    Mutant("--boxes is overruled by the file", "tfrecords_tools/sources/coco/coco_boxes.py", 'not in ("", wanted):', 'in ():', "tfrecords_tools/sources/test_coco_entries::bbox_mode"),
    Mutant("masks: a prediction of an object without a mask displaces others", "must_tf/tasks/masks/metric.py", "about_unknown & ~about_known", "about_unknown & False", "must_tf/tasks/test_objects_without_masks::displace"),
    Mutant("masks: a prediction near an object without a mask is not judged", "must_tf/tasks/masks/metric.py", "about_unknown & ~about_known", "about_unknown", "must_tf/tasks/test_objects_without_masks::displace"),
    Mutant("every command has --tasks", "tfrecords_tools/cli/convert.py", '{option for option in ("tasks", "classes") if option in values}', '{"tasks", "classes"}', "tfrecords_tools/convert/test_relabelled::way_out"),
    Mutant("training sees another picture", "must_tf/data/input.py", '        image = record.decode_image(assertions.bounded(parsed["image/encoded"]))\n        original', '        image = record.decode_image(assertions.bounded(parsed["image/encoded"]))[..., ::-1]\n        original', "must_tf/serving/test_one_picture::everywhere"),
    Mutant("teachers see another picture", "tfrecords_tools/label/pipeline.py", "image = record.decode_image(opening.image_of(example)) if frames", "image = record.decode_image(opening.image_of(example))[..., ::-1] if frames", "must_tf/serving/test_one_picture::everywhere"),
    Mutant("predicting needs tf_keras", f"{TASKS}depth/model.py", "import tensorflow as tf\n", "import tensorflow as tf\nimport tf_keras\n", "project/test_light_install::without"),
    Mutant("lists of an export's settings are lost", "must_tf/config/base.py", "                self.__dict__[key] = value", "                self.__dict__[key] = current if isinstance(value, list) else value", "project/test_light_install::settings"),
    Mutant("a missing package ends with a traceback", "must_tf/common/process_setup.py", "        if not (message := missing.remedy(error)):", "        if True:", "project/test_light_install::one_line"),
    Mutant("any missing package is one for training", "must_tf/common/missing.py", " or importlib.util.find_spec(MODEL_GARDEN) is not None", "", "must_tf/common/test_errors::another_missing"),
    Mutant("a step that a full disk lost is not mentioned", "must_tf/common/errors.py", "        if message := disk.refusal(each):", "        if message := \"\":", "must_tf/common/test_errors::became_an_error"),
    Mutant("a file of a command's own that is no mapping ends it", "must_tf/common/files.py", "if isinstance(values, dict) else [\"a mapping\"]", "if True else [\"\"]", "must_tf/common/test_damaged_files::named"),
    Mutant("a photo of a damaged line counts as predicted", "must_tf/prediction/folder.py", "        if None in names:", "        if False:", "must_tf/common/test_damaged_files::predicted_again"),
    Mutant("a damaged sidecar ends a command for good", "tfrecords_tools/writing/shards.py", "        except UserError:\n            continue", "        except KeyError:\n            continue", "must_tf/common/test_damaged_files::sidecar"),
    Mutant("a plan may ask for a billion trainings", "must_tf/loop/plan_file.py", "0 < value <= MOST.get(key, LARGEST)", "0 < value <= LARGEST", "must_tf/loop/test_plan_file::named_with_its_key"),
    Mutant("an export of half the images is called complete", "tfrecords_tools/export/join.py", "    shards.require_claim(out)\n", "", "tfrecords_tools/export/test_run::disk_is_gone"),
    Mutant("a YOLO export of half the images is called complete", "tfrecords_tools/export/yolo.py", "    shards.require_claim(out)\n", "", "tfrecords_tools/export/test_yolo::disk_is_gone"),
    Mutant("a program imports much before it handles signals", "must_tf/cli/entry_points.py", "from must_tf.common import interrupts\n", "from must_tf.common import interrupts\nimport must_tf.cli.flags\n", "must_tf/common/test_interrupts::program_starts"),
    Mutant("signals have no word between two parts of a start", "tfrecords_tools/__main__.py", "    with interrupts.at_once():\n        from must_tf.common import process_setup\n\n        process_setup.prepare()\n", "    from must_tf.common import process_setup\n\n    process_setup.prepare()\n    with interrupts.at_once():\n", "must_tf/common/test_interrupts::program_starts"),
    Mutant("a command that has begun ends without cleaning up", "must_tf/common/errors.py", "if each in (usual[number], interrupts.end_at_once)", "if each is usual[number]", "must_tf/common/test_interrupts::cleans_up"),
    Mutant("a command in the background ends by Ctrl-C", "must_tf/common/interrupts.py", "left_alone = (None, signal.SIG_IGN)", "left_alone = (None,)", "must_tf/common/test_interrupts::stays_ignored"),
    Mutant("a signal's exit code is its number", "must_tf/common/errors.py", "    return 128 + number", "    return number", "must_tf/common/test_signals_at_random"),
    Mutant("hundreds of mistakes are hundreds of lines", "must_tf/common/errors.py", "if len(problems) > MOST_SHOWN:", "if False:", "must_tf/config/test_validate::very_many"),
    Mutant("the truth of all tasks of a large image is read at once", "tfrecords_tools/stats/against_truth.py", "if info.height * info.width <= label_reader.LARGE:", "if True:", "tfrecords_tools/stats/test_truth_by_content::in_turn"),
    Mutant("Ctrl-C while options are parsed is silent", "tfrecords_tools/cli/main.py", "        if end.code == INTERRUPTED:", "        if False:", "tfrecords_tools/cli/test_signals::is_parsed"),
    Mutant("labels of all tasks of a large image are made at once", "tfrecords_tools/teachers/trained.py", "info.height * info.width <= label_reader.LARGE or", "True or", "tfrecords_tools/label/test_pipeline::one_task_after"),
    Mutant("a large map is measured at once", GEOMETRY, "    rows = max(1, BAND // width)\n    return", "    rows = max(1, height)\n    return", "must_tf/tasks/test_large_maps::bounded"),
    Mutant("bands of depth forget that their means differ", "must_tf/tasks/depth/metric.py", "[*(band[\"spread\"] for band in bands), *between]", "[*(band[\"spread\"] for band in bands)]", "must_tf/tasks/test_large_maps::all_pixels"),
    Mutant("depth is fitted to the last band", "must_tf/tasks/depth/metric.py", "        return _solved(next(bands))", "        return _solved([*bands][-1])\n    for equations in bands:\n        return _solved(equations)", "must_tf/tasks/test_large_maps::all_pixels"),
    Mutant("known depth is copied in double precision", "must_tf/tasks/depth/metric.py", "_median(image.truth[known]) / _median", "_median(image.truth[known].astype(float)) / _median", "must_tf/tasks/test_large_maps::bounded"),
    Mutant("maps of the last task are kept while the next one's are read", "tfrecords_tools/evaluate/run.py", "                    del known  # before", "                    pass  # before", "tfrecords_tools/evaluate/test_run::let_go"),
    Mutant("eight large images are measured at once", "tfrecords_tools/evaluate/run.py", " or pixels + size > MOST_PIXELS", "", "tfrecords_tools/evaluate/test_run::come_alone"),
    Mutant("a number without bounds may be NaN", "must_tf/config/validate.py", "(allowed or ANY).holds", "(allowed.holds if allowed else bool)", "must_tf/config/test_validate::out_of_range"),
    Mutant("a number that is no float ends the check", "must_tf/config/fields.py", "abs(value) <= LARGEST", "math.isfinite(value)", "must_tf/config/test_validate::no_float"),
    Mutant("a full disk is forgotten as Ctrl-C comes", "must_tf/common/errors.py", "    for each in chain:", "    for each in [error]:", "must_tf/common/test_errors::not_lost"),
    Mutant("a command that cannot clean up says nothing", "must_tf/common/errors.py", "    if is_of_a_file and any(", "    if False and any(", "must_tf/common/test_errors::became_an_error"),
    Mutant("hugging face: one damaged box turns shares into pixels", "tfrecords_tools/sources/published/hugging_face_boxes.py", "and min(numbers[2:]) > 0", "", "tfrecords_tools/sources/published/test_hugging_face::cannot_tell"),
    Mutant("loading a run needs Model Garden without a word", "must_tf/prediction/model.py", "    if not HAS_MODEL_GARDEN:", "    if False:", "project/test_light_install::run"),
    Mutant("a photo may be a pipe", "tfrecords_tools/convert/run.py", "    if not stat.S_ISREG(status.st_mode):", "    if False:", "tfrecords_tools/sources/test_pipes::photo"),
    Mutant("an archive may be a pipe", "tfrecords_tools/sources/archives.py", "    require_an_end(path)\n    return", "    return", "tfrecords_tools/sources/test_pipes::wait"),
    Mutant("names are printed as they are", "must_tf/common/text.py", "        if OBEYED.search(text) is None:", "        if True:", "must_tf/common/test_text::command"),
    Mutant("a page shows names as they are", "must_tf/shared/html_report.py", "        finalize=_shown,\n", "", "must_tf/common/test_text::pages"),
    Mutant("an annotation that is there twice is two objects", "tfrecords_tools/sources/coco/coco_objects.py", "            if content in seen:", "            if False:", "tfrecords_tools/sources/test_coco_entries::one_outcome"),
    Mutant("a name may look like a cut one", "tfrecords_tools/export/formats.py", " and not MARKED.search(name):", ":", "tfrecords_tools/export/test_run::apart"),
    Mutant("a log on a full disk is not named", "must_tf/common/subprocesses.py", "with disk.naming(log), open(log, \"a\") as file:", "with open(log, \"a\") as file:", "must_tf/common/test_full_disk::way"),
    Mutant("a vanished folder is not named", "must_tf/common/folder_lock.py", "        if tf.io.gfile.exists(path):\n            raise", "        if True:\n            raise", "must_tf/common/test_folder_lock::vanishes"),
    Mutant("a remote lock is looked for once", "must_tf/common/folder_lock.py", "    yield _remote(_path(path, part))\n    _refuse_conflicting(path, part)", "    yield _remote(_path(path, part))", "must_tf/common/test_folder_lock::together"),
    Mutant("Ctrl-C during imports is an error of theirs", "must_tf/common/process_setup.py", "with interrupts.at_once():", "if True:", "must_tf/common/test_interrupts::before_a_command"),
    Mutant("Ctrl-C while flags are parsed is silent", "must_tf/common/command_line.py", "with interrupts.at_once():", "if True:", "must_tf/common/test_interrupts::before_a_command"),
    Mutant("SIGTERM before a command begins is silent", "must_tf/__main__.py", "with interrupts.at_once():", "if True:", "must_tf/common/test_interrupts::before_a_command"),
    Mutant("output is lost without an error", "must_tf/common/errors.py", "interrupts.sent_again(), _written():", "interrupts.sent_again():", "must_tf/common/test_errors::nobody"),
    Mutant("click answers Ctrl-C", "tfrecords_tools/cli/main.py", "with kept_from_click():", "if True:", "tfrecords_tools/cli/test_signals::word"),
    Mutant("the last band of a map is not measured", "tfrecords_tools/reading/check_truth.py", "range(0, info.height, rows)", "range(0, info.height - rows + 1, rows)", "tfrecords_tools/reading/test_check_truth::bands"),
    Mutant("masks are checked without their boxes", "tfrecords_tools/check/record_rules.py", "for name in (task, *specs[task].needs) if", "for name in (task,) if", "tfrecords_tools/check/test_run::large"),
    Mutant("the last band of normals is not read", f"{TASKS}normals/labels.py", "count = -(-height // rows)", "count = height // rows", "contract/test_stored_targets::bands"),
    Mutant("confidence of the last part is not counted", "tfrecords_tools/reading/label_summary.py", "range(0, flat.size, PART)", "range(0, max(1, flat.size - PART), PART)", "tfrecords_tools/inspect/test_inspect::parts"),
    Mutant("metres of the last part are not counted", f"{TASKS}depth/summary.py", "range(0, len(found), AT_ONCE)", "range(0, max(1, len(found) - AT_ONCE), AT_ONCE)", "tfrecords_tools/inspect/test_inspect::parts"),
    Mutant("Ctrl-C in a fork's hook is lost", "tfrecords_tools/writing/worker_pool.py", "with interrupts.postponed():", "with contextlib.nullcontext():", "must_tf/common/test_interrupts::workers"),
    Mutant("a lost Ctrl-C does not come again", "must_tf/common/interrupts.py", "        timer.start()", "        pass", "must_tf/common/test_interrupts::again"),
    Mutant("signals to other threads are not postponed", "must_tf/common/interrupts.py", "number: signal.signal(number, note) for", "number: signal.getsignal(number) for", "must_tf/common/test_interrupts::thread"),
    Mutant("a folder is foreign if another process begins meanwhile", "must_tf/common/own_folder.py", "    others = foreign(directory, known)  # before the marks: another process of this command may begin meanwhile\n    if others and not any(tf.io.gfile.exists(os.path.join(directory, mark)) for mark in marks):", "    is_mine = any(tf.io.gfile.exists(os.path.join(directory, mark)) for mark in marks)\n    others = foreign(directory, known)\n    if others and not is_mine:", "must_tf/common/test_own_folder::meanwhile"),
    Mutant("mirrored normals keep their x", f"{TASKS}normals/labels.py", "[-1.0, 1.0, 1.0]", "[1.0, 1.0, 1.0]", "contract/test_stored_targets::mirrored"),
    Mutant("flip is not applied to maps", GEOMETRY, "tf.where(warp.flip, warp.original[1] - 1 - columns, columns)", "columns", "contract/test_targets::mirrored and segm"),
    Mutant("mirrored maps are off by one", GEOMETRY, "warp.original[1] - 1 - columns", "warp.original[1] - columns", "contract/test_targets::mirrored and segm"),
    Mutant("flip is not applied to boxes", GEOMETRY, "x0, x1 = tf.where", "_, _ = tf.where", "contract/test_targets::mirrored and detection"),
    Mutant("mirrored boxes swap their sides", GEOMETRY, "tf.where(warp.flip, 1.0 - x1, x0), tf.where(warp.flip, 1.0 - x0, x1)", "tf.where(warp.flip, 1.0 - x0, x0), tf.where(warp.flip, 1.0 - x1, x1)", "contract/test_targets::mirrored and detection"),
    Mutant("flip is not applied to masks", GEOMETRY, "crop = tf.raw_ops.Reverse(tensor=crop, dims=tf.stack([False, warp.flip, False]))", "pass", "contract/test_targets::mirrored and masks"),
    Mutant("flip is not applied to pixels", GEOMETRY, "image = tf.cond(warp.flip, lambda: tf.reverse(image[:, width - used :], [1]), lambda: image[:, :used])", "image = image[:, :used]", "contract/test_targets::pixels"),
    Mutant("masks are not re-cut by the crop", GEOMETRY, "warp), clip(warp_boxes(boxes, warp), warp))", "warp), warp_boxes(boxes, warp))", "contract/test_targets::longhand and masks"),
    Mutant("nearest is shifted by half a stride", GEOMETRY, "+ 0.5) * stride", "+ 0.0) * stride", "contract/test_targets::longhand and segmentation"),
    Mutant("stride is ignored by the place of cells", GEOMETRY, "+ 0.5) * stride", "+ 0.5 * 1.0 / stride) * stride", "contract/test_targets::longhand and segmentation"),
    Mutant("the crop's offset is ignored by maps", GEOMETRY, "tf.cast(warp.offset[axis], tf.float32)) * ratio", "0.0) * ratio", "contract/test_targets::longhand and segmentation"),
    Mutant("the crop's offset has the wrong sign for boxes", GEOMETRY, "* scale - offset", "* scale + offset", "contract/test_targets::longhand and detection"),
    Mutant("boxes are not cut to the crop", GEOMETRY, "return tf.minimum(tf.maximum(boxes, 0.0), limit)", "return boxes", "contract/test_targets::longhand and detection"),
    Mutant("outside of a shrunk image the last row is repeated", GEOMETRY, "places[: tf.math.count_nonzero(places < warp.original[axis], dtype=tf.int32)]", "tf.minimum(places, warp.original[axis] - 1)", "contract/test_targets::longhand and segmentation"),
    Mutant("height and width are confused in boxes", GEOMETRY, "scale = tf.tile(tf.cast(warp.scaled, tf.float32), [2])\n    offset", "scale = tf.tile(tf.cast(warp.scaled, tf.float32)[::-1], [2])\n    offset", "contract/test_targets::longhand and detection"),
    Mutant("box x and y are swapped", f"{TASKS}detection/labels.py", '("ymin", "xmin", "ymax", "xmax")\nLABEL', '("xmin", "ymin", "xmax", "ymax")\nLABEL', "contract/test_records::published"),
    Mutant("depth is not divided by the zoom", f"{TASKS}depth/labels.py", "/ geometry.enlargement(warp)", "/ 1.0", "contract/test_targets::longhand and depth"),
    Mutant("depth is multiplied by the zoom", f"{TASKS}depth/labels.py", "/ geometry.enlargement(warp)", "* geometry.enlargement(warp)", "contract/test_targets::longhand and depth"),
    Mutant("depth: only the first rows are written", f"{TASKS}depth/labels.py", "for top in range(0, max(shape[0], 1), rows)]", "for top in range(0, min(shape[0], 1), rows)]", "must_tf/tasks/test_relative_depth::in_parts"),
    Mutant("depth is read as 8 bits", f"{TASKS}depth/labels.py", "1, tf.uint16, 0, as_stored)[..., 0]", "1, tf.uint8, 0, as_stored)[..., 0]", "contract/test_records::depth"),
    Mutant("far depth is cut off at 65 m", f"{TASKS}depth/labels.py", "scale = (largest_inverse if relative else farthest) / LARGEST", "scale = 0.001", "contract/test_records::depth"),
    Mutant("red and blue of normals are swapped", "must_tf/data/record.py", "values[..., ::-1] if values.ndim == 3 else values", "values", "contract/test_records::normals"),
    Mutant("maps of labels are written as OpenCV likes", "must_tf/data/record.py", "else values, MAP_PNG)", "else values)", "must_tf/data/test_map_png::difference"),
    Mutant("unknown normals become vectors", f"{TASKS}normals/labels.py", "(1 / 127.5) - known for", "(1 / 127.5) - 1.0 for", "contract/test_records::normals"),
    Mutant("unknown normals get a colour", f"{TASKS}normals/labels.py", "if cv2.inRange(into, ZERO, ZERO).any() or", "if", "contract/test_records::normals"),
    Mutant("normals that are NaN get a colour", f"{TASKS}normals/labels.py", " or not np.isfinite(shifted).all():", ":", "must_tf/tasks/test_normal_colours::nan"),
    Mutant("on the host: no class but those of the cells around a pixel", f"{TASKS}segmentation/host.py", "unsure = undecided & ~(shares > limit)", "unsure = undecided & (shares < 0)", "must_tf/tasks/test_segmentation_restore::between"),
    Mutant("on the host: the border of half maps", "must_tf/data/host_maps.py", "if frame.step > 1:", "if frame.step > 2:", "contract/test_host_restore::alike"),
    Mutant("an image of the input's size is cut at its corner", "must_tf/data/geometry.py", "tf.slice(image, tf.concat([warp.offset, [0]], 0)", "tf.slice(image, tf.concat([0 * warp.offset, [0]], 0)", "must_tf/data/test_resample::keeps_its_size"),
    Mutant("stats: the size of one map is taken for all of a task", "must_tf/data/label_reader.py", "for file in files} != {half}", "for file in files[:1]} != {half}", "tfrecords_tools/stats/test_half_maps::all_maps"),
    Mutant("labelling: every teacher gets the views of the first", "tfrecords_tools/label/pipeline.py", "key = tuple(id(one.pixels) for one in views.values())", "key = (0,)", "tfrecords_tools/label/test_pipeline::share_their_batch"),
    Mutant("confidence is lost on writing", f"{TASKS}segmentation/labels.py", "initial=1.0) < 1.0:", "initial=1.0) < 0.0:", "contract/test_records::segmentation"),
    Mutant("scores are lost on writing", f"{TASKS}detection/labels.py", 'record.float_feature(labels["scores"])', 'record.float_feature(np.ones_like(labels["scores"]))', "contract/test_records::detection"),
    Mutant("the hard label is that before rounding", f"{TASKS}classification/labels.py", "record.int_feature([stored.argmax()])", "record.int_feature([probability.argmax()])", "must_tf/tasks/test_reading_rules::hard_label"),
    Mutant("two classes that become one leave the hard label", f"{TASKS}classification/labels.py", "    features[LABEL].int64_list.value[:] = [int(new.argmax())]\n", "", "must_tf/tasks/test_reading_rules::hard_label"),
    Mutant("mixed precision rounds the batch", "must_tf/model/student.py", 'name="student", autocast=False', 'name="student"', "must_tf/tasks/test_mixed_precision::unrounded"),
    Mutant("mixed precision rounds the matched proposals", f"{TASKS}detection/sampling.py", "skip_subsampling=True, dtype=tf.float32", "skip_subsampling=True", "must_tf/tasks/test_mixed_precision::sampled"),
    Mutant("mixed precision rounds the proposals of masks", f"{TASKS}masks/head.py", "num_sampled_masks=samples, dtype=tf.float32", "num_sampled_masks=samples", "must_tf/tasks/test_mixed_precision::sampled"),
    Mutant("mixed precision rounds RetinaNet's scores", f"{TASKS}detection/head.py", "lambda x: tf.cast(x, tf.float32), self._dense(pyramid.levels)[:2]", "lambda x: x, self._dense(pyramid.levels)[:2]", "must_tf/tasks/test_mixed_precision::retinanet"),
    Mutant("masks need as many proposals as samples", f"{TASKS}masks/head.py", "min(self._samples, candidates)", "self._samples", "must_tf/tasks/test_mask_targets::samples"),
    Mutant("boxes that stick out have larger crops in a graph", GEOMETRY, "tf.math.ceil(boxes[:, 2:] * size[2:] - 1e-3), low + 1.0), size[2:])", "tf.math.ceil(boxes[:, 2:] * size[2:] - 1e-3), low + 1.0), 2.0 * size[2:])", "must_tf/tasks/test_mask_targets::extent"),
    Mutant("a network's parts are checked last", "must_tf/training/preflight.py", "if not (\"task.model\" in before or", "if not (before or", "must_tf/training/test_preflight::beside_other"),
    Mutant("targets need not fill the input", "must_tf/training/preflight.py", "if task.input_size % stride:", "if False:", "must_tf/training/test_preflight::fill"),
    Mutant("the runs of a column may end early", "must_tf/transfers/cells.py", "params.task.patience = 0", "pass", "must_tf/transfers/test_transfers::equally_long"),
    Mutant("the runs of a column choose their batch sizes", "must_tf/transfers/cells.py", "if batch_size.is_auto(params):", "if False:", "must_tf/transfers/test_transfers::one_batch_size"),
    Mutant("every repeated id is named", "tfrecords_tools/check/dataset_rules.py", "repeated[: findings.EXAMPLES]", "repeated", "tfrecords_tools/check/test_run::only_some"),
    Mutant("rare labels of a shard are not sampled", "tfrecords_tools/label/agreement.py", "if step > 1 and 0 < len(of_shard) < most:", "if False:", "tfrecords_tools/label/test_agreement::rare"),
    Mutant("no shard makes up for another", "tfrecords_tools/label/agreement.py", "share = max(each, -(-(count - len(found)) // (len(shards) - place)))", "share = each", "tfrecords_tools/label/test_agreement::rare"),
    Mutant("a pattern is one folder", "must_tf/runs/trained_on.py", "for path in tf.io.gfile.glob(pattern) or [pattern]]", "for path in [pattern]]", "must_tf/runs/test_trained_on::several"),
    Mutant("masks without boxes are lost without a word", "tfrecords_tools/merge/run.py", "if not _is_labelled(features, family[0]):", "if False:", "tfrecords_tools/merge/test_run::noted"),
    Mutant("an empty origin is taken for one", "tfrecords_tools/merge/run.py", " and len(features[key].bytes_list.value) > 0", "", "tfrecords_tools/merge/test_run::empty_origin"),
    Mutant("soft labels become hard", f"{TASKS}classification/labels.py", "lambda: soft / total, lambda: hard", "lambda: hard, lambda: hard", "contract/test_records::classification"),
    Mutant("confidence is not applied", f"{TASKS}segmentation/labels.py", "tf.where(sure, classes, tf.constant(IGNORE, tf.uint8))", "classes", "contract/test_targets::longhand and segmentation"),
    Mutant("doubtful pseudo boxes are trained on", f"{TASKS}detection/rules.py", '~labels["is_crowd"] & (labels["scores"] >= _threshold(labels, config))', '~labels["is_crowd"]', "contract/test_targets::longhand and detection"),
    Mutant("crowds are trained on", f"{TASKS}detection/rules.py", '~labels["is_crowd"] & (labels["scores"]', '(labels["scores"]', "contract/test_targets::longhand and detection"),
    Mutant("classes have no threshold of their own", "must_tf/shared/thresholds.py", "own.get(name, default)", "default", "contract/test_targets::longhand and detection"),
    Mutant("names are counted from 0 where ids are not", "must_tf/shared/thresholds.py", "[default] * first_id", "[]", "must_tf/tasks/test_reading_rules::own_threshold"),
    Mutant("crowds are background", f"{TASKS}detection/rules.py", 'labels["is_crowd"] | ((scores', '((scores', "contract/test_targets::longhand and detection"),
    Mutant("the band cannot be switched off", f"{TASKS}detection/rules.py", "config.ignore_threshold >= config.score_threshold", "False", "must_tf/tasks/test_reading_rules::higher"),
    Mutant("doubtful boxes are background", f"{TASKS}detection/rules.py", "(scores >= config.ignore_threshold)", "(scores > 2.0)", "must_tf/tasks/test_ignored::background"),
    Mutant("ignore regions do not reach the RPN", f"{TASKS}detection/loss.py", "negative=match.negative & whole & ~spared", "negative=match.negative & whole", "contract/test_losses::detection"),
    Mutant("ignore regions do not reach RetinaNet", f"{TASKS}detection/loss.py", "match.positive | (match.negative & ~spared)", "match.positive | match.negative", "contract/test_losses::detection"),
    Mutant("what fills up is background", f"{TASKS}detection/loss.py", 'tf.where(raw["roi_classes"] >= 0, cross_entropy, 0.0)', "cross_entropy", "contract/test_losses::detection"),
    Mutant("background is sampled in ignore regions", f"{TASKS}detection/sampling.py", "background &= ~spared_proposals", "_ = ~spared_proposals", "must_tf/tasks/test_ignored::sampled"),
    Mutant("samples that fill up are used", f"{TASKS}detection/head.py", 'tf.where(found["used"], found["classes"], -1)', 'found["classes"]', "must_tf/tasks/test_ignored::moving"),
    Mutant("proposals of equal scores have any order", f"{TASKS}detection/proposals.py", "votes = tf.range(places.shape[1], 0, -1, dtype=tf.float32)", "votes = tf.ones(places.shape[1:])", "must_tf/tasks/test_proposals::equal"),
    Mutant("an overlap of exactly the limit is allowed", f"{TASKS}detection/proposals.py", "float(np.nextafter(np.float32(limits.overlap), np.float32(0.0)))", "limits.overlap", "must_tf/tasks/test_proposals::exactly"),
    Mutant("levels suppress each other", f"{TASKS}detection/proposals.py", "levels[..., None] == tf.range(len(sizes))", "levels[..., None] * 0 == tf.range(len(sizes))", "must_tf/tasks/test_proposals::exactly"),
    Mutant("all anchors are candidates", f"{TASKS}detection/proposals.py", "kept = [min(size, most) for size in sizes]", "kept = list(sizes)", "must_tf/tasks/test_proposals::best_candidates"),
    Mutant("empty boxes take places", f"{TASKS}detection/proposals.py", "own & real, places", "own, places", "must_tf/tasks/test_proposals::outside"),
    Mutant("evaluation has the candidates of training", f"{TASKS}detection/proposals.py", 'key if training else f"test_{key}"', "key", "must_tf/tasks/test_proposals::limits_of_their_own"),
    Mutant("portable NMS lets levels and classes meet", f"{TASKS}detection/portable.py", "tf.cast(groups, tf.float32)[:, None] * (2.0 * self.side)", "0.0", "must_tf/tasks/test_proposals::exactly"),
    Mutant("portable NMS repeats the first box", f"{TASKS}detection/proposals.py", "tf.cast(found.is_found, tf.float32)[:, None])[None]", "1.0)[None]", "must_tf/tasks/test_proposals::exactly"),
    Mutant("portable NMS takes the next class", f"{TASKS}detection/portable.py", "tf.math.floormod(found.places, classes) + 1", "tf.math.floormod(found.places, classes) + 2", "must_tf/tasks/test_portable"),
    Mutant("restored maps are half a cell off", "must_tf/serving/formats/postprocess.py", "(scaled / length / stride) - 0.5, 0, last)", "(scaled / length / stride), 0, last)", "must_tf/serving/formats/test_postprocess::restored"),
    Mutant("the padding bleeds into restored maps", "must_tf/serving/formats/postprocess.py", "last = int(np.ceil(scaled / stride - EDGE)) - 1", "last = values.shape[axis] - 1", "must_tf/serving/formats/test_postprocess::restored"),
    Mutant("fitted photos are padded with black", "must_tf/serving/formats/postprocess.py", "OUTSIDE, np.uint8)", "0, np.uint8)", "must_tf/serving/formats/test_postprocess::fitted"),
    Mutant("objects are found again with any class", "must_tf/serving/formats/differences.py", "overlap *= expected", "_ = expected", "must_tf/serving/formats/test_differences::found_again"),
    Mutant("formats: objects below the threshold stay", "must_tf/serving/formats/network.py", "    kept = objects.above({name: value[0] for name, value in outputs.items()}, threshold)\n", "    kept = {name: value[0] for name, value in outputs.items()}\n", "must_tf/serving/formats/test_network::threshold"),
    Mutant("boxes of int8 are in 8 bits", "must_tf/serving/formats/tflite.py", "if _kind(model, operator) in LAYERS or TRUNK in name:", "if name:", "must_tf/serving/formats/test_network::int8_has"),
    Mutant("the setting of NMS does not reach the proposals", f"{TASKS}detection/head.py", 'if self._config.nms == "batched":', "if True:", "must_tf/tasks/test_proposals::setting"),
    Mutant("XLA is asked to compile what it cannot", "must_tf/training/preflight.py", 'refused = field.metadata.get("not_compiled", ())', "refused = ()", "must_tf/training/test_preflight::compile"),
    Mutant("small doubtful objects are background", f"{TASKS}detection/ignored.py", "(overlap >= low) | claimed |", "(overlap >= low) |", "must_tf/tasks/test_ignored::rule"),
    Mutant("anchors within a crowd are background", f"{TASKS}detection/ignored.py", "| claimed | _inside(shared, own, high)", "| claimed", "must_tf/tasks/test_ignored::rule"),
    Mutant("what overlaps a doubtful object is background", f"{TASKS}detection/ignored.py", "(overlap >= low) | claimed", "claimed", "must_tf/tasks/test_ignored::rule"),
    Mutant("a half is no pixel in the score of a mask", f"{TASKS}masks/pseudo.py", "likely, BELOW, 0,", "likely, 0.5, 0,", "must_tf/tasks/test_kept_masks::last_bit"),
    Mutant("masks are written without a pixel", f"{TASKS}masks/pseudo.py", "crop.flat[likely.argmax()] = True", "pass", "must_tf/tasks/test_reading_rules::likely"),
    Mutant("masks are learned half a cell off", f"{TASKS}masks/head.py", "return boxes + tf.concat([half, half], axis=-1)", "return boxes", "must_tf/tasks/test_mask_targets"),
    Mutant("masks are moved the wrong way", f"{TASKS}masks/head.py", "return boxes + tf.concat([half, half], axis=-1)", "return boxes - tf.concat([half, half], axis=-1)", "must_tf/tasks/test_mask_targets"),
    Mutant("masks that are doubted are trained on", f"{TASKS}masks/labels.py", " & is_sure(labels, config)", "", "contract/test_targets::longhand and masks"),
    Mutant("masks lose their score", f"{TASKS}masks/labels.py", "initial=1.0) < 1.0:", "initial=1.0) < 0.0:", "contract/test_records::masks"),
    Mutant("masks have thresholds of their own only", f"{TASKS}masks/labels.py", 'config.class_thresholds = configs["detection"].class_thresholds', "pass", "must_tf/tasks/test_reading_rules::follow"),
    Mutant("doubted distributions are trained on", "must_tf/data/input.py", 'tf.where((origin == "") | doubted, 0.0, weight)', 'tf.where(origin == "", 0.0, weight)', "must_tf/tasks/test_reading_rules::doubted"),
    Mutant("real distributions are doubted", "must_tf/data/input.py", "doubted = pseudo & ~", "doubted = ~", "must_tf/tasks/test_reading_rules::doubted"),
    Mutant("a crowd is nothing", "must_tf/spec.py", "believed.any() or has_ignored", "believed.any()", "must_tf/tasks/test_reading_rules::unsure"),
    Mutant("rare classes start as one", f"{TASKS}segmentation/model.py", ', "segmentation", tells_apart=True)', ', "segmentation")', "must_tf/shared/test_pixel_head"),
    Mutant("ignored pixels are trained on", f"{TASKS}segmentation/loss.py", "known = classes != IGNORE", "known = classes >= 0", "contract/test_losses"),
    Mutant("unknown depth is trained on", f"{TASKS}depth/loss.py", "return tf.reduce_sum(tf.where(known, values, 0.0), axis=[1, 2])", "return tf.reduce_sum(values, axis=[1, 2])", "contract/test_losses::depth"),
    Mutant("relative depth keeps its scale", f"{TASKS}depth/loss.py", "centred / divisor[:, None, None], spread", "centred, spread", "must_tf/shared/test_masked_losses::scale_and_shift"),
    Mutant("relative depth keeps its shift", f"{TASKS}depth/loss.py", "centred = values - median(values, known)[:, None, None]", "centred = values", "must_tf/shared/test_masked_losses::scale_and_shift"),
    Mutant("relative depth may be upside down", f"{TASKS}depth/loss.py", "aligned - true, 0.0)", "tf.abs(aligned) - tf.abs(true), 0.0)", "must_tf/shared/test_masked_losses::upside"),
    Mutant("the median takes the upper of two", f"{TASKS}depth/loss.py", "tf.maximum(count - 1, 0) // 2, count // 2", "count // 2, count // 2", "must_tf/shared/test_masked_losses::median"),
    Mutant("the median sees unknown pixels", f"{TASKS}depth/loss.py", "tf.where(known, values, values.dtype.max), [-1, side]", "values, [-1, side]", "must_tf/shared/test_masked_losses::unknown"),
    Mutant("relative depth with one value is trained on", f"{TASKS}depth/loss.py", 'tf.where(spread > 0, targets["weight"], 0.0)', 'targets["weight"]', "must_tf/shared/test_masked_losses::hardly"),
    Mutant("gradients reach over unknown pixels", f"{TASKS}depth/loss.py", "here[:, :, 1:] & here[:, :, :-1]", "here[:, :, 1:]", "must_tf/shared/test_masked_losses::longhand"),
    Mutant("the gradient term has one scale", f"{TASKS}depth/loss.py", "step = 2**k", "step = 2**0", "contract/test_losses::depth"),
    Mutant("berHu's limit is a share of the batch's largest error", f"{TASKS}depth/loss.py", "tf.reduce_max(size, axis=[1, 2], keepdims=True)", "tf.reduce_max(size)", "contract/test_losses::depth"),
    Mutant("relative labels are read as metres", f"{TASKS}depth/labels.py", "tf.where(relative, none, scale)", "scale", "must_tf/tasks/test_relative_depth::read"),
    Mutant("relative labels are written as metric", f"{TASKS}depth/labels.py", "(RELATIVE if relative else METRIC)", "METRIC", "must_tf/tasks/test_relative_depth::read"),
    Mutant("metres are learned as inverse depth", f"{TASKS}depth/labels.py", 'tf.math.divide_no_nan(1.0, labels["metres"])', 'labels["metres"]', "contract/test_targets::longhand and depth"),
    Mutant("a metric run starts on relative labels", f"{TASKS}depth/labels.py", "if not count or", "if count or", "must_tf/tasks/test_relative_depth::metres_are_not"),
    Mutant("the hardest of real labels are left out too", "must_tf/shared/masked_losses.py", "believed | ~pseudo[:, None, None]", "believed", "contract/test_losses::depth"),
    Mutant("the easiest are left out", "must_tf/shared/masked_losses.py", "last = tf.maximum(count - dropped - 1, 0)", "last = dropped", "must_tf/shared/test_masked_losses::share"),
    Mutant("heads in half precision have losses in it", "must_tf/shared/masked_losses.py", "values = tf.cast(values, tf.float32)\n        rows", "rows", "must_tf/shared/test_masked_losses::bfloat16"),
    Mutant("confidence does not weigh", f"{TASKS}segmentation/loss.py", 'values *= targets["confidence"]', "pass", "contract/test_losses::segmentation"),
    Mutant("hard labels stay soft", f"{TASKS}classification/loss.py", "probability = tf.one_hot(tf.argmax(probability, axis=-1), classes)", "pass", "contract/test_losses::classification"),
    Mutant("a killed command's unfinished sidecar stays", "tfrecords_tools/writing/shards.py", 'remove(os.path.join(directory, FOLDER), "*.partial")', "pass", "tfrecords_tools/writing/test_shards::look_like_a_pattern"),
    Mutant("what was looked for is lost in the targets", "must_tf/data/record.py", "tf.ensure_shape(mask | tf.equal(tf.size(dense), 0)", "tf.ensure_shape(mask | True", "must_tf/tasks/test_partial_labels::travels"),
    Mutant("newer labels inherit what older ones looked for", "must_tf/data/record.py", "for key in (annotated_key(task), *_keys(specs[task].features, specs[task].Config)):", "for key in _keys(specs[task].features, specs[task].Config):", "must_tf/tasks/test_partial_labels::inherit"),
    Mutant("objects beyond the limit are background", f"{TASKS}detection/labels.py", "rules.ignored(labels, config) | beyond", "rules.ignored(labels, config)", "must_tf/tasks/test_ignored::beyond"),
    Mutant("class 0 is trained on", f"{TASKS}detection/labels.py", "(ids >= 1) & (ids <= last)", "(ids >= 0) & (ids <= last)", "must_tf/data/test_opening::fault"),
    Mutant("class ids are cut to 32 bits", f"{TASKS}detection/labels.py", "known = tf.reduce_all((ids >= 1)", "ids = tf.cast(tf.cast(ids, tf.int32), tf.int64)\n    known = tf.reduce_all((ids >= 1)", "must_tf/data/test_opening::fault"),
    Mutant("boxes that are NaN are trained on", f"{TASKS}detection/labels.py", "valid = inside & known", "valid = known", "must_tf/data/test_opening::fault"),
    Mutant("maps of another size are decoded", "must_tf/data/record.py", "tf.reduce_all(found == size)", "tf.reduce_all(found > 0)", "must_tf/data/test_opening::fault"),
    Mutant("maps may hold one class too many", "must_tf/data/assertions.py", "above <= count,", "above <= count + 1,", "contract/test_stored_targets::among_bytes"),
    Mutant("ignored pixels are an unknown class", "must_tf/data/assertions.py", "tf.reduce_max(tf.reduce_max(ids + 1, axis=1))", "tf.reduce_max(tf.reduce_max(ids, axis=1)) + 1", "contract/test_stored_targets::among_bytes"),
    Mutant("serve: the page obeys what a class is named", "must_tf/serving/server/page.html", "names.map(legible)", "names", "must_tf/serving/server/test_abuse::elsewhere"),
    Mutant("huge images are decoded", "must_tf/data/assertions.py", "pixels <= opening.MAX_PIXELS", "pixels > 0", "must_tf/data/test_opening::huge"),
    Mutant("any length of a record is allocated", "must_tf/data/framing.py", "if at > end:", "if at < 0:", "must_tf/data/test_opening::length"),
    Mutant("a full disk is the fault of a record", "tfrecords_tools/reading/bad_records.py", "    IndexError,\n", "    IndexError,\n    OSError,\n", "tfrecords_tools/reading/test_bad_records"),
    Mutant("more records are left out than allowed", "tfrecords_tools/reading/bad_records.py", "len(_left_out.places) >= _left_out.most", "len(_left_out.places) > _left_out.most", "tfrecords_tools/reading/test_bad_records"),
    Mutant("partial labels are not counted", "tfrecords_tools/writing/shard_counts.py", 'self.limits[task]["partial"] += 1', "pass", "must_tf/tasks/test_partial_labels::rpn"),
    Mutant("predictions that nobody can judge are measured", "must_tf/spec.py", "if annotated is None or spec.class_ids is None:", "if True:", "must_tf/tasks/test_partial_labels::judge"),
    Mutant("unknown normals are trained on", f"{TASKS}normals/loss.py", "tf.reduce_any(normals != 0.0, axis=-1)", "tf.ones_like(normals[..., 0], tf.bool)", "contract/test_losses"),
    Mutant("unlabelled images dilute the mean", "must_tf/shared/masked_losses.py", "    counted = weight > 0\n", "    counted = weight > -1\n", "contract/test_losses"),
    Mutant("unlabelled pixels dilute the mean", "must_tf/shared/masked_losses.py", "tf.logical_and(known, weight[:, None, None] > 0)", "known", "contract/test_losses"),
    Mutant("NaN of an unlabelled image leaks into gradients", "must_tf/shared/masked_losses.py", "return tf.where(rows, values, tf.zeros_like(values))", "return values", "contract/test_losses"),
    Mutant("the weight of pseudo labels is ignored by the loss", "must_tf/shared/masked_losses.py", "tf.where(counted, values, 0.0) * weight, tf.cast(", "tf.where(counted, values, 0.0), tf.cast(", "contract/test_losses"),
    Mutant("the weight of pseudo labels scales what they count", "must_tf/shared/masked_losses.py", "* weight, tf.cast(counted, tf.float32))", "* weight, weight)", "must_tf/training/test_pseudo_training::scales"),
    Mutant("real and pseudo losses are confused in the log", "must_tf/training/task.py", '(~targets["pseudo"], targets["pseudo"])', '(targets["pseudo"], ~targets["pseudo"])', "must_tf/training/test_pseudo_training::alone"),
    Mutant("the log of pseudo losses has their weight", "must_tf/training/loss_weights.py", "tf.where(chosen, unweighted, 0.0)", "tf.where(chosen, term.total, 0.0)", "must_tf/training/test_pseudo_training::alone"),
    Mutant("real labels ramp up too", "must_tf/data/input.py", 'tf.where(targets["pseudo"], share, 1.0)', "share", "must_tf/training/test_pseudo_training::linearly"),
    Mutant("a resumed run ramps up again", "must_tf/data/input.py", "step = index //", "step = (index - start.images) //", "must_tf/training/test_pseudo_training::place"),
    Mutant("pseudo labels ramp up by image", "must_tf/data/input.py", "step = index // data.global_batch_size", "step = index", "must_tf/training/test_pseudo_training::place"),
    Mutant("every teacher's log is split", "must_tf/training/preflight.py", "for origin in origins}) == 2", "for origin in origins}) >= 1", "must_tf/training/test_pseudo_training::manifests"),
    Mutant("padding of masks is trained on", f"{TASKS}masks/loss.py", "raw[\"classes\"] > 0", "raw[\"classes\"] > -2", "contract/test_losses"),
    Mutant("ignore regions lose the size of the batch", f"{TASKS}detection/ignored.py", "regions.shape[0] or tf.shape(regions)[0]", "tf.shape(regions)[0]", "must_tf/tasks/test_ignored::longhand"),
    Mutant("ignore regions count only if all places have one", f"{TASKS}detection/ignored.py", "tf.reduce_any(sizes > 0.0)", "tf.reduce_all(sizes > 0.0)", "must_tf/tasks/test_ignored::longhand"),
    Mutant("RPN's forced match ignores padding and claims anchors", f"{TASKS}detection/anchors.py", " & (best_of_object > 0.0)", "", "contract/test_losses"),
    Mutant("RPN's forced match is gone", f"{TASKS}detection/anchors.py", "(best >= high) | claimed", "best >= high", "contract/test_losses"),
    Mutant("RPN trains on ignored anchors", f"{TASKS}detection/loss.py", "tf.where(used, cross_entropy, 0.0), axis=1", "cross_entropy, axis=1", "contract/test_losses"),
    Mutant("box deltas of the next class are trained", f"{TASKS}detection/loss.py", "deltas = tf.gather(deltas, classes, batch_dims=2)", "deltas = tf.gather(deltas, (classes + 1) % count, batch_dims=2)", "contract/test_losses"),
    Mutant("box targets are not scaled", f"{TASKS}detection/loss.py", "foreground, REGRESSION_WEIGHTS)", "foreground)", "contract/test_losses"),
    Mutant("focal loss leaves the normaliser to the batch", f"{TASKS}detection/loss.py", 'return {"focal": Term(total, positives)', 'return {"focal": Term(total, tf.ones_like(positives))', "contract/test_losses"),
    Mutant("classes that nobody looked for are background to the box head", f"{TASKS}detection/loss.py", " | ~annotated[:, None, :]", "", "contract/test_losses::detection"),
    Mutant("classes that nobody looked for are background to the RPN", f"{TASKS}detection/loss.py", "match.negative & whole", "match.negative", "contract/test_losses::detection"),
    Mutant("classes that nobody looked for are background to RetinaNet", f"{TASKS}detection/loss.py", 'said = targets["annotated"][:, None, :] |', 'said = tf.ones_like(targets["annotated"])[:, None, :] |', "contract/test_losses::detection"),
    Mutant("class ids are off by one", f"{TASKS}detection/labels.py", '"classes": tf.cast(ids, tf.int32)', '"classes": tf.cast(ids, tf.int32) - 1', "contract/test_records::detection"),
    Mutant("kept classes are off by one", f"{TASKS}detection/pseudo.py", 'predictions["classes"][indices], np.int32)', 'predictions["classes"][indices] - 1, np.int32)', "contract/test_targets::perfect and detection"),
    Mutant("the RPN learns nothing", f"{TASKS}detection/head.py", '"rpn_scores": anchors.flatten(scores, 1)', '"rpn_scores": tf.stop_gradient(anchors.flatten(scores, 1))', "contract/test_heads::detection"),
    Mutant("restored boxes ignore the scaled size", GEOMETRY, "scale = tf.tile(tf.cast(frame.scaled, tf.float32), [2])", "scale = tf.constant(float(frame.size))", "contract/test_targets::perfect and detection"),
    Mutant("restored maps ignore the scaled size", GEOMETRY, "/ tf.cast(frame.scaled, tf.float32) * (stride", "/ float(frame.size) * (stride", "contract/test_targets::perfect"),
    Mutant("a class that is best in no cell is not looked for", f"{TASKS}segmentation/model.py", "highest > CERTAIN * limit", "highest > 0", "must_tf/tasks/test_segmentation_restore::no_cell"),
    Mutant("a third class between cells is not looked for", f"{TASKS}segmentation/model.py", 'float("inf"))', "0.0)", "must_tf/tasks/test_segmentation_restore::opencv"),
    Mutant("restored planes are resampled beside their place", "must_tf/data/resample.py", "        translation=tf.zeros([2]),", "        translation=tf.constant([0.5, 0.0]),", "must_tf/tasks/test_segmentation_restore::opencv"),
    Mutant("only the first band of a large map is restored", GEOMETRY, "    count = -(-height // rows)\n    arrays", "    count = tf.constant(1)\n    arrays", "contract/test_targets::in_bands"),
    Mutant("large images are labelled at the same time", "tfrecords_tools/label/parallelism.py", "self._changed.wait_for(lambda: self._taken + pixels <= self._pixels)", "pass", "tfrecords_tools/label/test_parallelism::room"),
    Mutant("stats counts the first part of a large map", "tfrecords_tools/stats/sums.py", "for start in range(0, size, PART):", "for start in range(0, min(size, PART), PART):", "tfrecords_tools/stats/test_run::in_parts"),
    Mutant("a rate that is no number is divided by", "must_tf/runs/rate.py", " or not 0 < rate < math.inf", "", "must_tf/runs/test_rate::named"),
    Mutant("numbers of equal names are tried again", "tfrecords_tools/writing/on_disk.py", "number = found[0] if found else 2", "number = 2", "tfrecords_tools/writing/test_on_disk::once"),
    Mutant("transfers at once are thought to follow each other", "must_tf/transfers/command.py", " / min(jobs, left)", "", "must_tf/transfers/test_transfers::share"),
    Mutant("labelling keeps the memory of freed maps", "tfrecords_tools/cli/main.py", "os.environ.setdefault(ALLOCATOR, \"1\")", "pass", "must_tf/test_main::with_networks"),
    Mutant("metrics of an evaluation may be texts", "must_tf/common/files.py", " or not all(isinstance(one, int | float | None) for one in numbers.values())", "", "must_tf/common/test_damaged_files::no_numbers"),
    Mutant("large records are as many in a batch as small ones", "tfrecords_tools/label/pipeline.py", " or (batch and size + len(serialized) > BATCH_BYTES)", "", "tfrecords_tools/label/test_pipeline::large_records"),
    Mutant("a plan's wrong value is shown whole", "must_tf/common/text.py", "return text if len(text) <= BRIEF else f\"{text[:BRIEF]}...\"", "return text", "must_tf/loop/test_plan_file::cut"),
    Mutant("a content hash is looked at when a record is written", "must_tf/data/opening.py", "        content_hash(example.features.feature)\n", "", "must_tf/data/test_opening::content_hash"),
    Mutant("padding bleeds into restored maps", GEOMETRY, "values = values[:height, :width]", "pass", "contract/test_targets::outside"),
    Mutant("kept masks are transposed", f"{TASKS}masks/pseudo.py", "probability.astype(np.float32), across", "probability.T.astype(np.float32), across", "contract/test_targets::perfect and masks"),
    Mutant("kept masks are shifted by half a cell", f"{TASKS}masks/pseudo.py", "* side - 0.5).astype(np.float32)\n    columns", "* side).astype(np.float32)\n    columns", "contract/test_targets::perfect and masks"),
    Mutant("merged records keep old keys", "must_tf/data/record.py", "example.features.feature.pop(key, None)", "pass", "contract/test_records::merging"),
    Mutant("absent is taken for empty", "must_tf/data/input.py", 'tf.where((origin == "") | doubted, 0.0, weight)', "weight", "contract/test_records::absent"),
    Mutant("pseudo weight is ignored", "must_tf/data/input.py", "tf.where(pseudo, config.pseudo_weight, 1.0)", "1.0", "contract/test_records::pseudo"),
    Mutant("real labels are taken for a teacher's", "must_tf/data/input.py", '"pseudo": pseudo,', '"pseudo": tf.constant(True),', "contract/test_records::pseudo"),
    Mutant("every epoch has the same order", "must_tf/data/input.py", "seed=seed + number", "seed=seed", "contract/test_input"),
    Mutant("augmentation repeats every epoch", "must_tf/data/input.py", "tf.constant(data.seed, tf.int64), index]", "tf.constant(data.seed, tf.int64), index % 12]", "contract/test_input"),
    Mutant("augmentation ignores the seed", "must_tf/data/input.py", "tf.constant(data.seed, tf.int64), index]", "tf.constant(7, tf.int64), index]", "contract/test_input"),
    Mutant("a log's last line is written twice", "must_tf/common/progress.py", "self._done >= self._total and not self._terminal", "False", "must_tf/common/test_progress::log"),
    Mutant("a job that goes on is said to be fast", "must_tf/common/progress.py", "(self._done - count) / passed", "self._done / passed", "must_tf/common/test_progress::rate"),
    Mutant("what nobody looked for is read", "must_tf/data/label_reader.py", "if name in origins and origins[name].startswith(origin)", "if origins.get(name, origin).startswith(origin)", "contract/test_records::without_an_origin"),
    Mutant("confidence is nearly what was written", f"{TASKS}segmentation/labels.py", "tf.math.divide_no_nan(tf.cast(confidence, tf.float32), 255.0)", "tf.cast(confidence, tf.float32) / 255.0", "contract/test_records::graphs"),
    Mutant("what a command froze is thawed by its workers", "tfrecords_tools/writing/worker_pool.py", "if not frozen_before:", "if True:", "must_tf/cli/test_entry_points::frozen"),
    Mutant("augmentation depends on timing", GEOMETRY, "tf.random.stateless_uniform([4], seed)", "tf.random.uniform([4])", "contract/test_input"),
    Mutant("a resumed run augments as from the start", "must_tf/data/input.py", ".enumerate(start.images)", ".enumerate()", "contract/test_input"),
    Mutant("the last images of an evaluation are dropped", "must_tf/data/input.py", ".repeat(-count % data.global_batch_size)", ".repeat(0)", "contract/test_input"),
    Mutant("an iterator's end waits for a thread that tunes", "must_tf/data/record.py", "options.autotune.enabled = False", "options.autotune.enabled = True", "contract/test_input::tunes"),
    Mutant("only the first record set is read", "must_tf/data/input.py", "for pattern in globs:", "for pattern in globs[:1]:", "contract/test_input"),
    Mutant("replicas average their own means", "must_tf/training/loss_weights.py", "counted(term) if count is None else count, 1.0", "tf.reduce_sum(term.count) * replicas, 1.0", "contract/test_replicas"),
    Mutant("replicas count twice", "must_tf/training/loss_weights.py", "tf.reduce_sum(term.total) * replicas /", "tf.reduce_sum(term.total) /", "contract/test_replicas"),
    Mutant("the log depends on the replicas", "must_tf/training/task.py", "loss_weights.everywhere(count) for", "count for", "contract/test_replicas"),
    Mutant("learned weights depend on the replicas", "must_tf/training/task.py", "loss_weights.everywhere(count) for", "(count if key.endswith('labelled') else loss_weights.everywhere(count)) for", "contract/test_replicas"),
    Mutant("parts of a batch have their own means", "must_tf/training/task.py", "loss_weights.mean(term, counts[key])", "loss_weights.mean(term) / parts", "must_tf/training/test_accumulation::one_step"),
    Mutant("weight decay counts once for each part", "must_tf/training/task.py", "tf.add_n(aux_losses) / parts", "tf.add_n(aux_losses)", "must_tf/training/test_accumulation::one_step"),
    Mutant("learned weights count once for each part", "must_tf/training/task.py", "[LABELLED.format(task=name)]) / parts", "[LABELLED.format(task=name)])", "must_tf/training/test_accumulation::one_step"),
    Mutant("parts of the step before stay in the sums", "must_tf/training/accumulation.py", "        strategy.run(self._reset)\n", "", "must_tf/training/test_accumulation::interrupted"),
    Mutant("counting moves the statistics", "must_tf/training/accumulation.py", "            variable.assign(value)", "            pass", "must_tf/training/test_accumulation::nothing"),
    Mutant("replicas keep their own gradients", "must_tf/training/gradients.py", "all_reduce(tf.distribute.ReduceOp.SUM, there)", "all_reduce(tf.distribute.ReduceOp.MEAN, there)", "must_tf/training/test_replicas::replicas"),
    Mutant("replicas are evaluated with their own statistics", "must_tf/training/trainer.py", "variable.assign(variable.read_value())", "pass", "must_tf/training/test_workers::measures"),
    Mutant("processes measure parts of another order", "must_tf/data/input.py", "part * context.input_pipeline_id", "part * (1 - context.input_pipeline_id)", "must_tf/training/test_workers::measures"),
    Mutant("every process writes an evaluation", "must_tf/cli/train.py", "logging_dir=directory, images", "logging_dir=flags.model_dir, images", "must_tf/training/test_workers::stop"),
    Mutant("objects of a later process replace the earlier ones", "must_tf/shared/voc_eval.py", "collected.objects += added.objects", "collected.objects = added.objects", "contract/test_merged_metrics"),
    Mutant("a later process's depths are not averaged", "must_tf/tasks/depth/metric.py", "self._images += later._images", "pass", "contract/test_merged_metrics"),
    Mutant("a followed run is evaluated again and again", "must_tf/training/continuous_evaluation.py", "_step(newest) > after", "_step(newest) >= after", "must_tf/training/test_continuous_evaluation::once"),
    Mutant("a bad step goes on", "must_tf/training/task.py", "tf.debugging.Assert(finite,", "tf.debugging.Assert(finite | True,", "must_tf/training/test_trainer::stops"),
    Mutant("averages start as random weights", "must_tf/training/trainer.py", "            self.averages.start()", "            pass", "must_tf/training/test_averages::initial"),
    Mutant("averages are of the weights before the step", "must_tf/training/trainer.py", "self.averages.decay(self.global_step + 1)", "self.averages.decay(self.global_step)", "must_tf/training/test_averages::numpys or initial"),
    Mutant("the trained weights are evaluated in training", "must_tf/training/trainer.py", "return self.averages.model if self.averages else self.model", "return self.model", "must_tf/training/test_averages::evaluated"),
    Mutant("averages are forgotten by a kill", "must_tf/training/trainer.py", "setattr(self.checkpoint, checkpoint_match.AVERAGED, self.averages.model)", "pass", "must_tf/training/test_averages::numpys"),
    Mutant("statistics are not averaged", "must_tf/training/averages.py", "trainable_weights_only: bool = False", "trainable_weights_only: bool = True", "must_tf/training/test_averages::left_out or numpys"),
    Mutant("the trained weights are what a run means", "must_tf/runs/checkpoint_match.py", "return TRAINED if self.find((AVERAGED,)) is None else AVERAGED", "return TRAINED", "must_tf/training/test_averages::restored"),
    Mutant("a resumed training goes on from the averages", "must_tf/cli/train.py", 'checkpoint_match.TRAINED if training else ""', '""', "must_tf/training/test_averages::interrupted"),
    Mutant("the id is of the trained weights", "must_tf/runs/restore.py", 'root = f"{checkpoint_match.CheckpointGraph(checkpoint).used}/"', 'root = "model/"', "must_tf/training/test_averages::id"),
    Mutant("a later run starts from the trained weights", "must_tf/runs/init_weights.py", "places: list[Path] = [(graph.used, *part)", 'places: list[Path] = [("model", *part)', "must_tf/training/test_averages::later"),
    Mutant("heads of a later run start from the trained weights", "must_tf/runs/init_weights.py", "{part: (graph.used, *part) for part in heads}", '{part: ("model", *part) for part in heads}', "must_tf/training/test_averages::later"),
    Mutant("groups that are off are not checked", "must_tf/config/validate.py", "return groups[0]() if groups else value", "return value", "must_tf/training/test_averages::wrong"),
    Mutant("the backbone's gradient is scaled", "must_tf/training/fine_tuning.py", "variable.assign(old + factor * (variable - old))", "pass", "must_tf/training/test_fine_tuning::factor"),
    Mutant("the decoder is slower too", "must_tf/training/task.py", "slower(model.trunk.backbone.trainable_variables", "slower(model.trunk.trainable_variables", "must_tf/training/test_fine_tuning::slower"),
    Mutant("random normalisation is frozen too", "must_tf/training/task.py", "for part in init_weights.trunk_parts(self.task_config.init_modules):", 'for part in ("backbone", "decoder"):', "must_tf/training/test_fine_tuning::not_change"),
    Mutant("repeated evaluations end patience", "must_tf/training/early_stopping.py", 'and since < evaluation["step"] <= step', 'and since < evaluation["step"]', "must_tf/training/test_early_stopping::counted"),
    Mutant("patience forgets that the run was extended", "must_tf/training/early_stopping.py", "max(_best_step(model_dir), fingerprint.extended_from(model_dir))", "_best_step(model_dir)", "must_tf/training/test_early_stopping::again"),
    Mutant("a resumed run evaluates at other steps", "must_tf/training/early_stopping.py", "(step // interval + 1) * interval", "step + interval", "must_tf/training/test_early_stopping::resumed_run"),
    Mutant("the chosen batch is of one device", "must_tf/training/batch_size.py", "while 2 * rows * found.number <= limit", "while 2 * rows <= limit", "must_tf/training/test_batch_size::largest"),
    Mutant("a resumed run chooses its batch again", "must_tf/cli/train.py", "        batch_size.adopt(params, flags.model_dir)", "        pass", "must_tf/training/test_batch_size::chosen"),
    Mutant("loss weights are those of no batch", "must_tf/cli/train.py", "        preflight.weigh(params)", "        pass", "must_tf/training/test_batch_size::chosen"),
    Mutant("seed 0 cannot be trained", "must_tf/cli/train.py", "seed if seed % tf.int32.max else INSTEAD_OF_ZERO", "seed", "must_tf/training/test_loss_scale::goes_on"),
    Mutant("an overflow changes the weights", "must_tf/training/loss_scale.py", "optimizer.get_unscaled_gradients(gradients) if _scales(optimizer) else gradients", "[tf.where(tf.math.is_finite(g), g, 0.0) if g is not None else None for g in optimizer.get_unscaled_gradients(gradients)] if _scales(optimizer) else gradients", "must_tf/training/test_loss_scale::halves"),
    Mutant("the gradients keep their scale", "must_tf/training/loss_scale.py", "optimizer.get_unscaled_gradients(gradients) if", "(optimizer.get_unscaled_gradients(gradients), gradients)[1] if", "must_tf/training/test_loss_scale::halves"),
    Mutant("an infinite gradient at the smallest scale is skipped for ever", "must_tf/training/loss_scale.py", "(optimizer.loss_scale > SMALLEST)", "(optimizer.loss_scale > 0)", "must_tf/training/test_loss_scale::halved"),
    Mutant("the first weights are drawn anew each time", "must_tf/cli/train.py", "tf_keras.utils.set_random_seed(seed if", "tf_keras.utils.set_random_seed(os.getpid() if", "must_tf/training/test_trainer::killed"),
    Mutant("samples depend on the time", f"{TASKS}detection/sampling.py", 'stateless_uniform([count], seed, minval=None, maxval=None, dtype=tf.int32, alg="philox")', "uniform([count], maxval=LOW_BITS, dtype=tf.int32)", "must_tf/tasks/test_sampling::function"),
    Mutant("samples depend on the compiler", f"{TASKS}detection/sampling.py", "tf.cast(bits & LOW_BITS, tf.float32) * 2.0**-23", 'tf.random.stateless_uniform([count], seed, alg="philox")', "must_tf/tasks/test_sampling::compiled"),
    Mutant("streams repeat each other", f"{TASKS}detection/sampling.py", "[stream * STREAM_STRIDE, 0]", "[STREAM_STRIDE, 0]", "must_tf/tasks/test_sampling::streams"),
    Mutant("all samples may be positive", f"{TASKS}detection/sampling.py", "max(1, int(samples * positive_fraction))", "samples", "must_tf/tasks/test_sampling::shares"),
    Mutant("predict: boxes are y before x", f"{TASKS}detection/summary.py", "[:, [1, 0, 3, 2]]", "[:, [0, 1, 2, 3]]", "must_tf/prediction/test_result::pixels"),
    Mutant("predict: classes count from 1", f"{TASKS}detection/summary.py", 'np.asarray(labels["classes"], np.int32) - rules.FIRST_ID', 'np.asarray(labels["classes"], np.int32)', "must_tf/prediction/test_result::pixels"),
    Mutant("predict: categories count from 0", "must_tf/prediction/coco.py", '"category_id": category,', '"category_id": category - 1,', "must_tf/prediction/test_result::pycocotools"),
    Mutant("predict: the threshold is not applied", "must_tf/label_content.py", "content.scores >= threshold", "content.scores >= 0", "must_tf/prediction/test_model::threshold"),
    Mutant("predict: inverse depth is called metres", f"{TASKS}depth/summary.py", 'if config.loss == "ssi":', "if False:", "must_tf/prediction/test_result::relative"),
    Mutant("predict: far depth wraps around in 16 bits", f"{TASKS}depth/summary.py", "np.where(millimetres > LARGEST, 0, millimetres)", "millimetres", "must_tf/prediction/test_result::pngs"),
    Mutant("predict: PNGs of normals are BGR", "must_tf/prediction/folder.py", "values[..., ::-1] if values.ndim == 3 else values", "values", "must_tf/cli/test_predict::hold"),
    Mutant("predict: half a line counts as a photo", "must_tf/prediction/folder.py", "if line.endswith(b\"\\n\") else None", "if line else None", "must_tf/common/test_damaged_files::predicted_again"),
    Mutant("predict: predicted pictures are photos", "must_tf/prediction/images.py", "if not os.path.abspath(path).startswith(written)]", "if True]", "must_tf/prediction/test_images::earlier_call"),
    Mutant("predict: finished photos are predicted again", "must_tf/cli/predict.py", "if photo.name not in folder.done", "if photo.name", "must_tf/cli/test_predict::alone"),
    Mutant("predict: a list is read whole", "must_tf/prediction/model.py", "if len(waiting) > AHEAD:", "if len(waiting) > 9:", "must_tf/prediction/test_model::long_list"),
    Mutant("predict: photos are not turned", "must_tf/data/image_files.py", "return orientation != UPRIGHT\n", "return False\n", "must_tf/prediction/test_images::orientation"),
    Mutant("predict: Pillow images are not turned", "must_tf/prediction/images.py", "ImageOps.exif_transpose(image)", "image", "must_tf/prediction/test_images::pillow"),
    Mutant("predict: NaN is a prediction", "must_tf/prediction/model.py", "if not is_finite(values):", "if False:", "must_tf/prediction/test_model::nan"),
    Mutant("markers within a JPEG's data are passed over", "must_tf/data/jpeg.py", "(codes != 0) & ((codes < RESTART[0])", "(codes == END) & ((codes < RESTART[0])", "must_tf/data/test_jpeg"),
    Mutant("a JPEG's tables are not tried", "must_tf/data/jpeg.py", "and _tables_work(data[: start + TRIED])", "", "must_tf/data/test_jpeg"),
    Mutant("a JPEG that is not whole stays", "must_tf/data/image_files.py", "if data[:3] == decoding.JPEG and jpeg.is_whole(data)", "if data[:3] == decoding.JPEG", "must_tf/data/test_jpeg::stays"),
    Mutant("a served photo is not turned", "must_tf/data/decoding.py", "direction == UPRIGHT, lambda: encoded", "direction > 0, lambda: encoded", "must_tf/data/test_decoding::one_picture"),
    Mutant("a served PNG is over black", "must_tf/data/decoding.py", "colour * alpha + 255 * (255 - alpha)", "colour * alpha", "must_tf/data/test_decoding::one_picture"),
    Mutant("a served PNG of 16 bits is divided by 256", "must_tf/data/decoding.py", "(levels + 128) // 257", "levels // 256", "must_tf/data/test_decoding::one_picture"),
    Mutant("a transparent colour is a colour", "must_tf/data/decoding.py", "tf.equal(kind, TRANSPARENT_CHUNK)", "tf.equal(kind, EXIF_CHUNK)", "must_tf/data/test_decoding::one_picture"),
    Mutant("transverse is a transpose", "must_tf/data/decoding.py", "tf.constant([3, 4, 7, 8])", "tf.constant([3, 4, 8])", "must_tf/data/test_decoding::one_picture"),
    Mutant("a JPEG below 8 pixels ends the conversion", "must_tf/data/jpeg.py", "max(1, image.width // 8)", "image.width // 8", "must_tf/data/test_decoding::one_picture"),
    Mutant("a mark between joined files is part of a name", "must_tf/common/text_files.py", "line.strip().strip(INVISIBLE).strip()", "line.strip()", "must_tf/common/test_text_files::marks_between"),
    Mutant("an XML's wrong encoding ends the conversion", "must_tf/common/text_files.py", "for text in _texts(data):", "for text in ():", "must_tf/common/test_text_files::declares"),
    Mutant("another split's image is taken", "tfrecords_tools/sources/finder.py", "own and _splits(name) and not own & _splits(name)", "own and False", "tfrecords_tools/sources/test_finder::another_splits"),
    Mutant("one of two files is taken", "tfrecords_tools/sources/finder.py", 'best[0] if len(best) == 1 else ""', 'best[0] if best else ""', "tfrecords_tools/sources/test_finder::one_file"),
    Mutant("an id for two files keeps one", "tfrecords_tools/sources/coco/coco_images.py", "UPDATE images SET kept = 0 WHERE id = ?", "UPDATE images SET kept = 0 WHERE id = ? AND 0", "tfrecords_tools/sources/test_oddities::one_outcome"),
    Mutant("boxes of a file's other entries are lost", "tfrecords_tools/sources/coco/coco_images.py", "UPDATE annotations SET image = ? WHERE image = ?", "UPDATE annotations SET image = ? WHERE image = ? AND 0", "tfrecords_tools/sources/test_oddities::one_outcome"),
    Mutant("what is not 0 is a crowd", "tfrecords_tools/sources/objects.py", "return text in SET", "return text not in NOT_SET", "tfrecords_tools/sources/test_oddities::one_outcome"),
    Mutant("corners are sizes", "tfrecords_tools/sources/coco/coco_boxes.py", "return CORNERS if verdicts.count(CORNERS)", "return SIZES if verdicts.count(CORNERS)", "tfrecords_tools/sources/test_oddities::one_outcome"),
    Mutant("grey normals are normals", "tfrecords_tools/sources/rgbd_maps.py", "< UNKNOWN_LENGTH**2", "< 0", "tfrecords_tools/sources/test_oddities::one_outcome"),
    Mutant("a ray is as long as its depth", "tfrecords_tools/sources/rgbd_maps.py", "metres / np.linalg.norm(unit_rays, axis=-1)", "metres * 1", "tfrecords_tools/sources/test_rgbd_maps::ray"),
    Mutant("check is content with masks made from boxes", "tfrecords_tools/check/usability.py", "if use.masks == use.filled >= MANY:", "if False:", "tfrecords_tools/check/test_usability::crowds"),
    Mutant("check: a box at one edge covers the image", "tfrecords_tools/check/usability.py", "(boxes[:, :2] <= EDGE).all(-1) &", "(boxes[:, :2] >= 0).all(-1) &", "tfrecords_tools/check/test_usability::one_of_many"),
    Mutant("check is content with empty depth maps", "tfrecords_tools/check/usability.py", '(task != "depth" or not known)', '(task != "depth")', "tfrecords_tools/check/test_usability::crowds"),
    Mutant("check is content with crowds", "tfrecords_tools/check/usability.py", "elif use.crowds == use.things:", "elif False:", "tfrecords_tools/check/test_usability::crowds"),
    Mutant("masks begin a pixel late", "tfrecords_tools/sources/coco/rle.py", "lengths[:1] -= before", "lengths[:1] -= before + 1", "tfrecords_tools/sources/test_coco::compressed_runs"),
    Mutant("imports are collected as garbage is", "must_tf/common/process_setup.py", "gc.freeze()", "pass", "must_tf/cli/test_entry_points::garbage"),
    Mutant("absent modules stay absent", "must_tf/common/upstream.py", "for name in hidden:", "for name in hidden[1:]:", "must_tf/common/test_upstream::hidden"),
    Mutant("records are read with Model Garden's networks", f"{TASKS}detection/loss.py", "import tf_keras\n", "import tf_keras\nimport official.vision\n", "must_tf/cli/test_entry_points::no_network"),
    Mutant("labelling: real labels are replaced", "tfrecords_tools/label/pipeline.py", " and record.is_pseudo(origin)", "", "tfrecords_tools/label/test_results::replaced"),
    Mutant("labelling: a job does the others' part", "tfrecords_tools/label/parallelism.py", "shards[self.number - 1 :: self.jobs]", "shards", "tfrecords_tools/label/test_parallelism::two_jobs"),
    Mutant("labelling: two jobs do the same part", "must_tf/common/folder_lock.py", "_local(_path(path, part), fcntl.LOCK_EX)", "_local(_path(path, part), fcntl.LOCK_SH)", "tfrecords_tools/label/test_parallelism::same_part"),
    Mutant("labelling: a command that does all does not see the jobs", "must_tf/common/folder_lock.py", "fcntl.LOCK_SH if part else fcntl.LOCK_EX", "fcntl.LOCK_SH", "tfrecords_tools/label/test_parallelism::same_part"),
    Mutant("labelling: files of jobs elsewhere are not seen", "must_tf/common/folder_lock.py", "files.matching(os.path.dirname(path), f\"{os.path.basename(path)}-*\"):\n        if", "[]:\n        if", "tfrecords_tools/label/test_parallelism::without_locks"),
    Mutant("an empty folder is left by a command that failed", "must_tf/common/folder_lock.py", "                os.rmdir(folder)", "                pass", "must_tf/common/test_folder_lock::stays_empty"),
    Mutant("two exports write into one folder", "must_tf/common/folder_lock.py", "        with held(beside, option=option):\n            yield", "        yield", "must_tf/common/test_folder_lock::as_a_whole"),
    Mutant("two trainings write into one folder", "must_tf/cli/train.py", "not cluster.is_first()", "cluster.is_first()", "must_tf/cli/test_errors::one_training"),
    Mutant("all processes of a training lock its folder", "must_tf/common/cluster.py", "return kind == \"chief\" or", "return True or", "must_tf/cli/test_errors::one_training"),
    Mutant("a training that waited forgets what it had checked", "must_tf/cli/train.py", "checkpoints.newest(flags.model_dir) != prefix", "False", "must_tf/cli/test_errors::one_training"),
    Mutant("one process of several saves alone", "must_tf/cli/train.py", "if not step or \"TF_CONFIG\" in os.environ", "if not step", "must_tf/cli/test_errors::terminated"),
    Mutant("training: files of others are taken over", "must_tf/runs/directory.py", "not is_run(directory) and (other := _foreign(directory))", "False and (other := _foreign(directory))", "must_tf/runs/test_directory::other_files"),
    Mutant("serve: Ctrl-C is a failure", "must_tf/serving/server/command.py", "        self.should_exit = True\n", "        self.should_exit = True\n        self._captured_signals.append(sig)\n", "must_tf/serving/server/test_models::asked_to_stop"),
    Mutant("a lost last step is silent", "must_tf/cli/train.py", "        print(f\"error: step {step} could not be saved: {why}\", file=sys.stderr, flush=True)\n", "", "must_tf/cli/test_errors::could_not_be_saved"),
    Mutant("two commands predict into one folder", "must_tf/cli/predict.py", "    with folder_lock.held(flags.out):\n", "    if True:\n", "must_tf/common/test_folder_lock::each_command"),
    Mutant("a study takes a plan's folder", "experiments/study.py", "self._done = f\"{name}-steps.json\"", "self._done = \"steps.json\"", "must_tf/common/test_own_folder::own_folders"),
    Mutant("two processes run a study in one folder", "experiments/study.py", "        with folder_lock.held(self._out):\n", "        if True:\n", "must_tf/common/test_folder_lock::each_command"),
    Mutant("an export removes a folder of somebody else", "must_tf/cli/export.py", "    own_folder.require(unfinished, (MARK,))\n", "", "must_tf/common/test_own_folder::photos"),
    Mutant("folders of years are versions of a model", "must_tf/serving/layout.py", "    if not versions(root):\n", "    if not _numbers(root):\n", "must_tf/serving/test_layout::by_year"),
    Mutant("a file that does not fit keeps the rest of the disk", "must_tf/common/files.py", "            tf.io.gfile.remove(path)\n", "            pass\n", "must_tf/common/test_full_disk::every_way"),
    Mutant("a killed export's lock is a foreign file", "must_tf/serving/layout.py", ", f\"*{folder_lock.NAME}\")", ")", "must_tf/serving/test_layout::was_killed"),
    Mutant("a path that TensorFlow cannot read ends in a traceback", "must_tf/common/errors.py", " or disk.without_file_system(error)", "", "must_tf/common/test_errors::line_and_its_code"),
    Mutant("a server lists a signature that it refuses", "must_tf/serving/server/models.py", " if name != saved_model.FITTED}", "}", "must_tf/serving/server/test_models::those_of_the_signature"),
    Mutant("Python 3.10 begins every command with a warning", "must_tf/common/process_setup.py", "    warnings.filterwarnings(\"ignore\", OLD_PYTHON, FutureWarning)\n", "", "must_tf/common/test_process_setup::not_mentioned"),
    Mutant("a held folder may be numbered anew", "must_tf/common/held_folders.py", "        opened = os.open(directory, os.O_RDONLY)", "        pass", "must_tf/common/test_held_folders::is_open"),
    Mutant("a map of any other size is enlarged", "must_tf/data/assertions.py", "    fits = tf.reduce_all(found == opening.half(size))", "    fits = tf.constant(True)", "contract/test_half_maps::a_map_of_another_size_is_a_fault"),
    Mutant("a step that starts as its disk is lost writes below it", "must_tf/common/subprocesses.py", "        held_folders.hold_those_of_parent()\n", "", "must_tf/common/test_held_folders::writes_nothing"),
    Mutant("a file goes to the disk below a lost one", "must_tf/common/files.py", "    held_folders.require()\n", "", "must_tf/common/test_held_folders::lost"),
    Mutant("a training goes on without its disk", "must_tf/training/trainer.py", "        held_folders.require()  # a checkpoint may follow\n", "", "must_tf/common/test_held_folders::notices"),
    Mutant("a plan's step begins without its disk", "must_tf/common/subprocesses.py", "    held_folders.require()\n", "", "must_tf/common/test_held_folders::notices"),
    Mutant("an export is written without its disk", "must_tf/cli/export.py", "    held_folders.require()\n    tf.saved_model", "    tf.saved_model", "must_tf/common/test_held_folders::notices"),
    Mutant("a folder of another disk is the same", "must_tf/common/held_folders.py", "return status.st_dev, status.st_ino", "return status.st_mode, status.st_mode", "must_tf/common/test_held_folders"),
    Mutant("an evaluation's file is on a lost disk", "tfrecords_tools/cli/evaluate.py", "held_folders.held_above(out) if out else", "", "tfrecords_tools/evaluate/test_run::without_its_disk"),
    Mutant("transfers go on with a full disk", "must_tf/transfers/command.py", "if disk.is_refusal(problem):", "if False:", "must_tf/transfers/test_transfers::refused_disk"),
    Mutant("a file without permission ends all transfers", "must_tf/common/disk.py", "if remedy != ACCESS or", "if remedy or", "must_tf/transfers/test_transfers::refused_disk"),
    Mutant("half a result is on a lost disk, without a word", "must_tf/common/folder_lock.py", "    if held_folders.identity(directory) != before:\n", "    if False:\n", "must_tf/common/test_folder_lock::made_anew"),
    Mutant("two transfers share a folder", "must_tf/transfers/command.py", "        with folder_lock.held(flags.out):\n", "        if True:\n", "must_tf/common/test_folder_lock::each_command"),
    Mutant("an interrupted transfer does not end the others", "must_tf/transfers/command.py", "subprocesses.end_all()  # once more if a run", "pass  # once more if a run", "must_tf/transfers/test_transfers::at_once_end"),
    Mutant("transfers of a plan run one by one", "must_tf/loop/steps.py", "if step.takes_jobs and self._jobs > 1", "if False", "must_tf/loop/test_steps::told_how_many"),
    Mutant("gains: seeds are not paired", "must_tf/transfers/gains.py", "signs[1] * other[seed]", "signs[1] * sum(other.values()) / len(other)", "must_tf/transfers/test_gains"),
    Mutant("gains: fewer degrees are a loss", "must_tf/transfers/gains.py", "if higher_is_better else (-1.0, 1.0)", "if higher_is_better else (1.0, -1.0)", "must_tf/transfers/test_gains"),
    Mutant("a plan asks for masks of real boxes", "must_tf/loop/facts.py", "if {*discover()[task].needs} <= {*lacking}", "if True", "must_tf/loop/test_trainings::real_boxes"),
    Mutant("crowded photos keep the small limits", "must_tf/loop/trainings.py", "settings.objects(most,", "settings.objects(0,", "must_tf/loop/test_trainings::crowded"),
    Mutant("the limits are those of one photo", "must_tf/loop/facts.py", "return max(counts, default=0)", "return min(counts, default=0)", "must_tf/loop/test_dry_run::fullest"),
    Mutant("predictions cannot be changed", "must_tf/prediction/model.py", "restored = tf.nest.map_structure(np.array, ", "restored = tf.nest.map_structure(np.asarray, ", "must_tf/prediction/test_model::callers_to_change"),
    Mutant("processes that start are counted", "must_tf/common/progress.py", "if count and not self._first", "if not self._first", "must_tf/common/test_progress::first_count"),
    Mutant("loading weights counts as labelling", "must_tf/common/progress.py", "since, count = self._first", "pass", "must_tf/common/test_progress::first_count"),
    Mutant("a column that shares runs trains its own", "must_tf/transfers/cells.py", "column.folder", "column.name", "must_tf/transfers/test_transfers::same_runs"),
    Mutant("boxes and masks of a transfer are trained twice", "must_tf/loop/transfers.py", "if whole:", "if not whole and whole:", "must_tf/loop/test_trainings::same_runs"),
    Mutant("record commands keep the memory of large maps", "tfrecords_tools/writing/worker_pool.py", ", process_setup.KERNELS: \"0\"", "", "must_tf/test_main::memory_back"),
    Mutant("parity: a result of other settings is used", "benchmarks/rows/parity.py", "            if content[\"settings\"] != settings:", "            if False:", "benchmarks/test_parity::not_trained_again"),
    Mutant("parity: Model Garden's last images are not measured", "benchmarks/rows/parity_settings.py", "\"drop_remainder\": is_training,", "\"drop_remainder\": True,", "benchmarks/test_parity::ends_with_metrics"),
    Mutant("parity: Model Garden's pixels fit no trained weights", "benchmarks/rows/parity_sides.py", "(images * factor + offset, labels)", "(images, labels)", "benchmarks/test_parity::pixels_that_they_know"),
    Mutant("parity: the target is this project's own spread", "benchmarks/rows/parity.py", "spread = statistics.stdev(theirs.rounds)", "spread = statistics.stdev(mine.rounds)", "benchmarks/test_parity::less_its_spread"),
    Mutant("parity: photos lack masks", "benchmarks/data/parity_data.py", "whole = all(each.get(\"segmentation\") and", "whole = all(", "benchmarks/test_parity::all_masks_are_used"),
    Mutant("benchmark: a check is charged to another one", "benchmarks/profile/checks.py", "**{message: {message} for message in messages}", "**{message: messages - {message} for message in messages}", "benchmarks/test_checks"),
    Mutant("a signal that became an error is a failure", "must_tf/common/errors.py", " if signals else _failed(error)", " if signals and False else _failed(error)", "must_tf/common/test_errors::became_an_error"),
    Mutant("SIGTERM cleans nothing up", "must_tf/common/errors.py", "signal.signal(number, handle)", "pass", "must_tf/common/test_errors::sigterm"),
    Mutant("a program's error passes for the disk's", "must_tf/common/disk.py", "return type(error).__module__.startswith((\"tensorflow\", \"sqlite3\"))", "return True", "must_tf/common/test_errors::other_errors"),
    Mutant("labelling: records that changed are read", "tfrecords_tools/label/job.py", "[1] != job.sha256", "[1] == \"\"", "tfrecords_tools/label/test_parallelism::changed"),
    Mutant("labelling: every shard loads its teachers", "tfrecords_tools/label/job.py", "if key in _loaded else", "if False else", "tfrecords_tools/label/test_parallelism::loads"),
    Mutant("labelling: a teacher's time is that of the last job", "must_tf/data/manifest.py", "\"time\": min(times)", "\"time\": max(times)", "tfrecords_tools/label/test_results::merged"),
    Mutant("labelling: who labelled nothing is among the teachers", "tfrecords_tools/writing/shards.py", " if record.pseudo_origin(key) in used_origins", "", "tfrecords_tools/label/test_results::says_who"),
    Mutant("labelling: processes with GPUs are forked", "tfrecords_tools/writing/worker_pool.py", " and not gpus else", " else", "tfrecords_tools/label/test_parallelism::gpu"),
    Mutant("labelling: others' empty images are this teacher's", "tfrecords_tools/label/job.py", "for task in labelled_record.added if", "for task in discover() if", "tfrecords_tools/label/test_results::counted"),
    Mutant("labelling: what was empty before is empty anew", "tfrecords_tools/label/pipeline.py", " if prepared.before.get(task) != teacher.about.origin", "", "tfrecords_tools/label/test_results::once_more"),
    Mutant("labelling: new boxes below old masks", "tfrecords_tools/label/pipeline.py", " and not any(task in spec.needs for other, spec in discover().items() if other in origins)", "", "tfrecords_tools/label/test_masks::keep"),
    Mutant("labelling: masks without their boxes are work", "tfrecords_tools/label/results.py", " and all(_has_room(source, tied, request) for tied in _tied(task))", "", "tfrecords_tools/label/test_masks::no_work"),
    Mutant("labelling: the manifest does not wait for all jobs", "tfrecords_tools/label/run.py", "if len(infos) == len(names):", "if infos:", "tfrecords_tools/label/test_parallelism::two_jobs"),
    Mutant("nobody tells that normals are mirrored", f"{TASKS}normals/labels.py", '"mirrored": warp.flip', '"mirrored": tf.constant(False)', "contract/test_targets::mirrored and normals"),
    Mutant("measuring fields of a task fix a run", "must_tf/runs/directory.py", "and _role(change.key) != fields.MEASURING", "and True", "contract/test_seventh_task::roles"),
    Mutant("a task's thresholds are no part of a verdict", "must_tf/pseudo_gate/verdict.py", "fields.names(config, fields.THRESHOLD)", "()", "contract/test_seventh_task::stats"),
    Mutant("stats believes every label", "tfrecords_tools/stats/sums.py", "present & np.asarray(task.believed(labels, config))", "present", "contract/test_seventh_task::stats"),
    Mutant("check leaves out a task's own rules", "tfrecords_tools/check/record_rules.py", "in specs[task].summary.problems(labels, info, configs[task]):", "in ():", "contract/test_seventh_task::rules"),
    Mutant("a threshold is a byte too low", "must_tf/shared/thresholds.py", "values).astype(np.uint8)", "values - 0.004).astype(np.uint8)", "contract/test_stored_targets::bytes"),
    Mutant("sums in the order of arrival", "must_tf/common/upstream.py", "memory_optimization = options.NO_MEM_OPT", "memory_optimization = 0", "must_tf/common/test_upstream::fixed_order"),
    Mutant("labelling: last bits depend on the number of threads", "tfrecords_tools/label/job.py", "parallelism.settle()", "pass", "tfrecords_tools/label/test_parallelism::settled or sum_in"),
    Mutant("labelling: several batches at a time take all threads each", "tfrecords_tools/label/parallelism.py", " if settled else 1", "", "tfrecords_tools/label/test_parallelism::at_a_time"),
    Mutant("labelling: one batch at a time", "tfrecords_tools/label/pipeline.py", 'ThreadPoolExecutor(passes, "forward")', 'ThreadPoolExecutor(1, "forward")', "tfrecords_tools/label/test_pipeline::same_time"),
    Mutant("teachers: normalised boxes are taken for pixels", "tfrecords_tools/teachers/model_garden.py", '_get(params, False, "export_config", "output_normalized_coordinates")', "False", "tfrecords_tools/teachers/test_model_garden::of_a_detector"),
    Mutant("teachers: the id is of the tasks asked for", "tfrecords_tools/teachers/model_garden.py", "sorted(outputs.items())", "sorted(chosen.items())", "tfrecords_tools/teachers/test_model_garden::the_id"),
    Mutant("teachers: an adapter's id is of the tasks asked for", "tfrecords_tools/teachers/adapter.py", "sorted(all_outputs.items())", "sorted(recipe.outputs.items())", "tfrecords_tools/teachers/test_mistakes::good_file"),
    Mutant("teachers: files that only some decoders read", "tfrecords_tools/teachers/foreign.py", "imencode(\".png\"", "imencode(\".bmp\"", "tfrecords_tools/teachers/test_saved_model::decoder"),
    Mutant("teachers: a bucket loses a slash", "tfrecords_tools/teachers/adapter.py", "return scheme + mark + os.path.normpath(place)", "return os.path.normpath(joined)", "tfrecords_tools/teachers/test_mistakes::bucket"),
    Mutant("teachers: probabilities need not sum to 1", "tfrecords_tools/teachers/checks.py", "range_problem(name, values, remedy) or sum_problem", "range_problem(name, values, remedy)", "tfrecords_tools/teachers/test_outputs::mean_something"),
    Mutant("teachers: no class is some class", "tfrecords_tools/teachers/names.py", "share < LEAST_SHARE", "share < 0", "tfrecords_tools/teachers/test_outputs::no_class"),
    Mutant("teachers: axes are those that a signature tells", "tfrecords_tools/teachers/adapter_outputs.py", "else (-1, *shape)[-1]", "else shape[-1]", "tfrecords_tools/teachers/test_outputs::does_not_tell"),
    Mutant("teachers: a letterbox's boxes keep its offset", "tfrecords_tools/teachers/detections.py", "boxes -= tf.tile", "boxes -= 0 * tf.tile", "tfrecords_tools/teachers/test_adapter::letterbox"),
    Mutant("teachers: a letterbox's maps keep its offset", "tfrecords_tools/teachers/outputs.py", "translation=-cells", "translation=0 * cells", "tfrecords_tools/teachers/test_adapter::gradient"),
    Mutant("teachers: a letterbox's class ids keep its offset", "tfrecords_tools/teachers/outputs.py", "(centres * per_pixel + tf.cast(offset[axis], tf.float32))", "(centres * per_pixel)", "tfrecords_tools/teachers/test_adapter::class_ids"),
    Mutant("teachers: blue is red", "tfrecords_tools/teachers/network.py", "pixels = pixels[..., ::-1]", "pass", "tfrecords_tools/teachers/test_files::blue"),
    Mutant("teachers: width and height of a second input are swapped", "tfrecords_tools/teachers/foreign.py", "sizes[:, ::-1] if recipe.input.width_first else sizes", "sizes", "tfrecords_tools/teachers/test_files::second_input"),
    Mutant("teachers: columns and rows of a grid are swapped", "tfrecords_tools/teachers/detections.py", "np.stack([columns.ravel(), rows.ravel(),", "np.stack([rows.ravel(), columns.ravel(),", "tfrecords_tools/teachers/test_detections::yolox"),
    Mutant("teachers: boxes of other classes are suppressed", "tfrecords_tools/teachers/detections.py", " | (classes != classes[place])", "", "tfrecords_tools/teachers/test_detections::suppression or transposed"),
    Mutant("teachers: the zero point is ignored", "tfrecords_tools/teachers/tflite_file.py", "values.astype(np.float32) - zero", "values.astype(np.float32)", "tfrecords_tools/teachers/test_files::quantised"),
    Mutant("teachers: probabilities pass as logits", "tfrecords_tools/teachers/checks.py", "(values <= 1).all() and", "(values <= 1).all() and False and", "tfrecords_tools/teachers/test_outputs::mean_something"),
    Mutant("teachers: new settings are not part of the id", "tfrecords_tools/teachers/recipe.py", "if not is_new or getattr(value, field) != default:", "if not is_new:", "tfrecords_tools/teachers/test_adapter::new_settings"),
    Mutant("half maps: the wrong pixels of a cut map", "must_tf/data/geometry.py", "steps = tf.where(tf.shape(values)[:2] == warp.original, 1, 2)", "steps = tf.constant([1, 1])", "contract/test_half_maps::enlarged"),
    Mutant("half maps: they show the first of their pixels", "must_tf/data/geometry.py", "(stride / frame.step)", "(stride / frame.step) * 0.99", "contract/test_half_maps::middle"),
    Mutant("half maps: the last row of an odd photo is empty", "must_tf/data/geometry.py", "    if frame.step > 1:  # the centre", "    if False:  # the centre", "contract/test_half_maps::middle"),
    Mutant("half maps: any map may be smaller", "must_tf/data/opening.py", "elif size not in ((info.height, info.width), (half(info.height), half(info.width))):", "elif size > (info.height, info.width):", "contract/test_half_maps::fault"),
    Mutant("half maps: old maps are continued with them", "tfrecords_tools/label/run.py", 'parts += ["half maps"] if request.half_maps else []', "parts += []", "tfrecords_tools/label/test_half_maps::continued"),
    Mutant("half maps: normals are exported as they are stored", "tfrecords_tools/export/formats.py", "if opening.png_size(stored) == unsure.shape and not unsure.any():", "if not unsure.any():", "tfrecords_tools/export/test_run::half_maps"),
    Mutant("half maps: the last class ids are the padding's", "tfrecords_tools/teachers/outputs.py", "- 0.5)  # beyond may be padding", "+ 0.5)", "tfrecords_tools/teachers/test_adapter::class_ids"),
    Mutant("stats: another record than the damaged one is named", "tfrecords_tools/reading/recordset.py", "if step > 1:  # it may", "if False:  # it may", "tfrecords_tools/stats/test_sample::damaged_record"),
    Mutant("stats: a sample leaves out a teacher", "tfrecords_tools/stats/run.py", "if stats_request.step > 1 and any(", "if False and any(", "tfrecords_tools/stats/test_sample::enough_labels"),
    Mutant("stats: a sample has few of rare labels", "tfrecords_tools/stats/run.py", "min(_labelled(described).values(), default=0)", "described.records", "tfrecords_tools/stats/test_sample::enough_labels"),
    Mutant("a limited teacher labels merged datasets in part", "must_tf/loop/checks.py", "& {*chosen}) < len(members):", "& {*chosen}) < 0:", "must_tf/loop/test_trainings::merged"),
    Mutant("a teacher's limit is ignored", "must_tf/loop/trainings.py", "self.plan.left_out(folder.members)", "()", "must_tf/loop/test_trainings::plan_names"),
    Mutant("stats: a sample is the first records", "tfrecords_tools/reading/recordset.py", ".shard(step, 0))", ".take(1 if step > 1 else -1))", "tfrecords_tools/stats/test_sample::evenly_spread"),
    Mutant("stats: a sample is called the whole", "tfrecords_tools/stats/tables.py", 'if content.get("read", content["records"]) < content["records"]:', "if False:", "tfrecords_tools/stats/test_sample::evenly_spread"),
    Mutant("gate: the same map for all images passes", "tfrecords_tools/stats/sameness.py", "total += count * (1 - same)", "total += count * 1", "must_tf/pseudo_gate/test_bad_teachers::same_map"),
    Mutant("gate: scale and shift of a map count", "tfrecords_tools/stats/sameness.py", "yield key, (grid / deviation).ravel()", "yield key, grid.ravel()", "must_tf/pseudo_gate/test_bad_teachers::same_map"),
    Mutant("gate: a second softmax passes", "must_tf/pseudo_gate/rules.py", "confidence <= softmax_of_certainty(classes)", "confidence < 0", "must_tf/pseudo_gate/test_bad_teachers::chance"),
    Mutant("confidence: the mirrored photo is not mirrored", "tfrecords_tools/label/pipeline.py", "view(tf.reverse(image, [1]), frame)", "view(tf.reverse(image, []), frame)", "tfrecords_tools/label/test_confidence::sees"),
    Mutant("confidence: the mirrored map of depth is not turned back", f"{TASKS}depth/summary.py", "    others = others[:, ::-1]\n", "", "must_tf/shared/test_pixel_confidence::ratio"),
    Mutant("confidence: a mirrored normal keeps its x", f"{TASKS}normals/summary.py", "np.array([-1, 1, 1], np.float32)", "np.array([1, 1, 1], np.float32)", "must_tf/shared/test_pixel_confidence::angle"),
    Mutant("confidence: scale and shift are those of the last rows", f"{TASKS}depth/summary.py", "product += float", "product = float", "must_tf/shared/test_pixel_confidence::in_parts"),
    Mutant("confidence: near and far may be swapped", f"{TASKS}depth/summary.py", "max(product, 0.0)", "product", "must_tf/shared/test_pixel_confidence::scale_and_shift"),
    Mutant("confidence: what is unknown once is certain", "must_tf/shared/pixel_confidence.py", "np.exp2(-np.where(known, disagreement, 0.0) / tolerance), 0.0)", "np.exp2(-np.where(known, disagreement, 0.0) / tolerance), 1.0)", "must_tf/shared/test_pixel_confidence::halves"),
    Mutant("confidence: the threshold is not applied", "must_tf/shared/pixel_confidence.py", "    if sure is None:\n        return values\n", "    if True:\n        return values\n", "contract/test_targets::longhand and depth"),
    Mutant("confidence: it is not mirrored with its map", "must_tf/shared/pixel_confidence.py", "geometry.warp_nearest(_stored(encoded, size, True), warp, 0, config.stride)", "geometry.warp_nearest(_stored(encoded, size, True), warp._replace(flip=tf.constant(False)), 0, config.stride)", "must_tf/shared/test_pixel_confidence::cut_with_its_map"),
    Mutant("confidence: a threshold lets the next byte through", "must_tf/shared/pixel_confidence.py", "(warped >= least if least else None)", "(warped > least if least else None)", "must_tf/shared/test_pixel_confidence::same_pixels"),
    Mutant("confidence: it is decoded for nothing", "must_tf/shared/pixel_confidence.py", "    if not least and not is_weighted:\n", "    if False:\n", "must_tf/shared/test_pixel_confidence::decoded"),
    Mutant("confidence: labels without it are uncertain", "must_tf/shared/pixel_confidence.py", "CERTAIN = 255  # as stored", "CERTAIN = 254  # as stored", "must_tf/shared/test_pixel_confidence::certain"),
    Mutant("confidence: an old one remains beside a new map", "must_tf/data/record.py", "for key in (annotated_key(task), *_keys(specs[task].features, specs[task].Config)):", "for key in (annotated_key(task), *(key for key in _keys(specs[task].features, specs[task].Config) if 'confidence' not in key)):", "contract/test_records::merging and (depth or normals)"),
    Mutant("confidence: silog is weighted by an unweighted mean", f"{TASKS}depth/loss.py", "** 2, _mean(confidence, known))", "** 2, _mean(tf.ones_like(confidence), known))", "contract/test_losses::by_hand and depth"),
    Mutant("confidence: a step has the weight of its first pixel", f"{TASKS}depth/loss.py", "tf.minimum(certain[:, :, 1:], certain[:, :, :-1])", "certain[:, :, :-1]", "contract/test_losses::by_hand and depth"),
    Mutant("confidence: it does not weigh normals", f"{TASKS}normals/loss.py", "values *= targets[CONFIDENCE]", "pass", "contract/test_losses::by_hand and normals"),
    Mutant("confidence: every image is shown twice", "tfrecords_tools/label/pipeline.py", "    return any(_is_free(task, origins) for task in confidence.compared(teacher.about.tasks))", "    return True", "tfrecords_tools/label/test_confidence::shown_mirrored"),
    Mutant("confidence: another option goes on in the same folder", "tfrecords_tools/label/run.py", '["confidence"] if request.with_confidence else []', "[]", "tfrecords_tools/label/test_confidence::goes_on"),
    Mutant("confidence: it hides maps that are all the same", "tfrecords_tools/stats/sameness.py", "if values is not content.scores", "if True", "tfrecords_tools/label/test_confidence::no_map"),
    Mutant("confidence: an export ignores it", "tfrecords_tools/export/run.py", "    unsure = known & (labelled.labels[CONFIDENCE] < least_score)\n", "    unsure = known & False\n", "tfrecords_tools/label/test_confidence::least_score"),
    Mutant("confidence: a plan's cost has one pass", "must_tf/loop/costs.py", 'return 2 if "--confidence"', 'return 1 if "--confidence"', "must_tf/loop/test_trainings::labels_get_one"),
    Mutant("confidence: every teacher has another id than before", "must_tf/runs/restore.py", "_without(task, LATER_OF_HEADS.get(name, {}))", "task", "must_tf/model/test_trunk::earlier_versions"),
    Mutant("confidence: settings without effect are silent", "must_tf/shared/pixel_confidence.py", "    if has_one or not is_used", "    if True or not is_used", "must_tf/training/test_preflight::no_label_has"),
    Mutant("agreement: the graphs of one teacher serve another", "tfrecords_tools/label/agreement.py", "repr((side, [(task, config.as_dict()) for task, config in configs.items()]))", "\"\"", "tfrecords_tools/label/test_agreement::graphs"),
    Mutant("agreement: every dataset is traced anew", "tfrecords_tools/label/agreement.py", "if key in _kept else", "if False else", "tfrecords_tools/label/test_agreement::graphs"),
    Mutant("agreement: the zoomed photo is not enlarged", "tfrecords_tools/label/agreement.py", "_View(False, ZOOM)", "_View(False, 1.0)", "tfrecords_tools/label/test_agreement::zoomed"),
    Mutant("agreement: the mirrored photo is not mirrored", "tfrecords_tools/label/agreement.py", "_View(True, 1.0)", "_View(False, 1.0)", "tfrecords_tools/label/test_agreement::position"),
    Mutant("agreement: a run's figures are measured each time", "tfrecords_tools/label/self_check.py", 'if stored.get("id") == about.id', 'if False and stored.get("id") == about.id', "tfrecords_tools/label/test_agreement::domain"),
    Mutant("NaN is a certain class", f"{TASKS}classification/labels.py", 'finite.check_labels("classification", labels, info.source_id)', "pass", "tfrecords_tools/teachers/test_outputs::no_distribution"),
    Mutant("class 300 is written as 44", f"{TASKS}segmentation/labels.py", "highest > IGNORE:", "False:", "tfrecords_tools/teachers/test_outputs::byte"),
    Mutant("rows are resampled beside their place", "must_tf/data/resample.py", "tf.stack([-offset, 0.0])", "tf.stack([-offset + 0.5, 0.0])", "must_tf/data/test_resample::two_passes"),
    Mutant("the last pixels that decide about a window are not read", "must_tf/data/resample.py", "tf.int32) + 2", "tf.int32) - 2", "must_tf/data/test_resample::warped"),
    Mutant("TensorFlow's log: a run has none", "must_tf/cli/train.py", "        tensorflow_log.move(os.path.join(flags.model_dir, run_files.TENSORFLOW_LOG))\n", "", "must_tf/training/test_trainer::killed"),
    Mutant("TensorFlow's log: what came before the run directory is lost", "must_tf/common/tensorflow_log.py", "file.write(before.content())", "pass", "must_tf/common/test_tensorflow_log::of_python_stay"),
    Mutant("TensorFlow's log: a crash is silent", "must_tf/common/tensorflow_log.py", "if FATAL.match(line):", "if False:", "must_tf/common/test_tensorflow_log::crash"),
    Mutant("TensorFlow's log: a killed process shows it", "must_tf/common/tensorflow_log.py", "if FATAL.match(line):", "if line:", "must_tf/common/test_tensorflow_log::other_ends"),
    Mutant("TensorFlow's log: Python's lines are in it", "must_tf/common/tensorflow_log.py", "    sys.stderr = os.fdopen(", "    _ = os.fdopen(", "must_tf/common/test_tensorflow_log::of_python_stay"),
    Mutant("TensorFlow's log: an earlier one is replaced", "must_tf/common/tensorflow_log.py", 'open(path, "ab", buffering=0)', 'open(path, "wb", buffering=0)', "must_tf/common/test_tensorflow_log::of_python_stay"),
    Mutant("TensorFlow's log: the level of must run holds", "must_tf/common/process_setup.py", "    subprocesses.not_inherited.add(tensorflow_log.LEVEL)", "    pass", "must_tf/common/test_tensorflow_log::everything_is_logged"),
    Mutant("TensorFlow's log: a level that is set is replaced", "must_tf/common/process_setup.py", "    if tensorflow_log.LEVEL in os.environ:\n        return\n", "", "must_tf/common/test_tensorflow_log::everything_is_logged"),
    Mutant("TensorFlow's log: a line that looks fatal is called so", "must_tf/common/tensorflow_log.py", "        is_ended = chunk.endswith(END)", "        is_ended = False", "must_tf/common/test_tensorflow_log::ends_by_itself"),
    Mutant("TensorFlow's log: the terminal gets a mark of its end", "must_tf/common/tensorflow_log.py", "before, _receiver = _receiver, None", "before = _receiver", "must_tf/common/test_tensorflow_log::without_disk"),
    Mutant("TensorFlow's log: SIGTERM to all processes ends it", "must_tf/common/tensorflow_log.py", "            with interrupts.postponed():", "            if interrupts:", "must_tf/common/test_tensorflow_log::all_processes"),
    Mutant("an evaluation without its disk is not shown", "tfrecords_tools/cli/evaluate.py", "        finally:  # what", "        except ZeroDivisionError:  # what", "tfrecords_tools/evaluate/test_run::without_its_disk"),
    Mutant("load: TensorFlow's lines are shown", "must_tf/__init__.py", "    if PUBLIC[name] == PREDICTION and", "    if False and", "must_tf/common/test_tensorflow_log::first_use_of_load"),
    Mutant("load: the environment changes though TensorFlow has started", "must_tf/__init__.py", ' and "tensorflow" not in sys.modules', "", "must_tf/common/test_tensorflow_log::first_use_of_load"),
    Mutant("overlaps are those of other objects", "must_tf/shared/coco_eval.py", "_places(classes)[d], _places(truth.classes)[g]", "_places(classes)[d], _places(truth.classes)[g] * 0", "must_tf/shared/test_coco_eval::agree"),
    Mutant("predictions of all images are one image's", "must_tf/shared/coco_eval.py", "        self._images += 1\n", "        pass\n", "must_tf/shared/test_coco_eval::source_id"),
    Mutant("merged images are those of the first part", "must_tf/shared/coco_eval.py", '        rows["image_id"] += images\n', "        pass\n", "contract/test_merged_metrics"),
    Mutant("crowds are objects", "must_tf/shared/coco_eval.py", "truth.area, truth.is_crowd)", "truth.area, truth.is_crowd & False)", "must_tf/shared/test_coco_eval::crowd"),
    Mutant("small objects that are found count as large", "must_tf/shared/coco_eval.py", "predicted.area[order], predicted.scores[order]", "predicted.area[order] + 1e4, predicted.scores[order]", "must_tf/shared/test_coco_eval::agree"),
    Mutant("classes without objects have no curve", "must_tf/shared/coco_eval.py", '"categories": [{"id": class_id}]', '"categories": [{"id": class_id}][: len(rows)]', "must_tf/shared/test_coco_eval::between_others"),
    Mutant("what is kept of a prediction is wider", "must_tf/shared/coco_eval.py", '("score", "f4")', '("score", "f8"), ("box", "4f8")', "must_tf/shared/test_coco_eval::bytes_are_kept"),
    Mutant("gradient norms are of half the squares", "must_tf/training/gradients.py", "tf.sqrt(2.0 *", "tf.sqrt(1.0 *", "must_tf/training/test_start::numpy"),
    Mutant("a norm that AdamW clips to twice is not named", "must_tf/training/preflight.py", "<= (adamw.global_clipnorm or 0.0):", "<= 0.0:", "must_tf/training/test_preflight::clipped_again"),
    Mutant("gradients are clipped one by one", "must_tf/training/gradients.py", "tf.clip_by_global_norm(gradients, norm, norm_of_all)[0]", "[each if each is None else tf.clip_by_value(each, -norm, norm) for each in gradients]", "must_tf/training/test_trainer::adamw"),
    Mutant("the box head is built by the first call", f"{TASKS}detection/head.py", "self._box_head(self._align(pyramid.levels, tf.zeros([1, 1, 4])))", "pass", "must_tf/training/test_start::creates"),
    Mutant("phases start with the first run of a process", "must_tf/common/startup_times.py", "if len(_ended) == 1 else now", "if _ended else now", "must_tf/common/test_startup_times::anew"),
    Mutant("closing an iterator waits for its autotuning", "must_tf/common/upstream.py", "return made(*args).with_options(options)", "return made(*args)", "must_tf/common/test_upstream::delays_the_end"),
    Mutant("the log of an interrupted step is lost", "must_tf/common/subprocesses.py", 'open(log, "a") as file', 'open(log, "w") as file', "must_tf/common/test_subprocesses::earlier_attempt"),
    Mutant("the reason of a failure is an earlier one", "must_tf/common/subprocesses.py", "return lines[begin:][-count:]", "return lines[-count:]", "must_tf/common/test_subprocesses::earlier_attempt"),
    Mutant("a step that begins anew keeps the old log", "must_tf/loop/steps.py", "            _remove(self._log(step))\n", "", "must_tf/loop/test_steps::interrupted"),
    Mutant("the log of a step is lost if the plan was killed, too", "must_tf/loop/steps.py", "if seconds is None:", "if not seconds:", "must_tf/loop/test_steps::ends_the_plan_too"),
    Mutant("serve: its last word goes to whatever file has the number of stderr", "must_tf/serving/server/command.py", "sys.stderr.fileno()", "2", "must_tf/serving/server/test_models::waits_for"),
    Mutant("serve: nothing is said when it stops", "must_tf/serving/server/command.py", "        if not self.should_exit:\n", "        if False:\n", "must_tf/serving/server/test_models::waits_for"),
    Mutant("a training ends a minute after its last line", "must_tf/cli/train.py", "    upstream.close_iterators_at_once()\n", "", "must_tf/common/test_upstream::prepares"),
    Mutant("slots are created in the first step", "must_tf/common/upstream.py", "            inner._create_all_weights(variables)", "            pass", "must_tf/training/test_start::slots"),
    Mutant("convert: the part of a photo is not that of its hash", "tfrecords_tools/sources/selected.py", "number < validation_share * contents.RANGE", "number % 1000 < validation_share * 1000", "tfrecords_tools/sources/test_selected::decides"),
    Mutant("convert: photos that are only near are left out", "tfrecords_tools/sources/selected.py", " and int(self.numbers[place]) == number", "", "tfrecords_tools/sources/test_selected::other_records"),
    Mutant("convert: losses of photos that are left out count", "tfrecords_tools/sources/selected.py", "self.source.load(item, own)", "self.source.load(item, account)", "tfrecords_tools/sources/test_selected::lost"),
    Mutant("convert: a folder goes on with other photos left out", "tfrecords_tools/sources/selected.py", "    digest: str\n", "    digest: str = dataclasses.field(repr=False)\n", "tfrecords_tools/sources/test_selected::excluded_photos"),
    Mutant("convert: a part may be empty", "tfrecords_tools/sources/selected.py", "        if self.part:\n            require", "        if False:\n            require", "tfrecords_tools/sources/test_selected::empty"),
    Mutant("convert: repeated photos have the names of others", "tfrecords_tools/convert/repeated.py", 'place, "right")', 'place, "left")', "tfrecords_tools/convert/test_repeated::noted"),
    Mutant("convert: a name takes a corrected teacher's id", "tfrecords_tools/sources/named.py", " and not origin.startswith(corrected.CORRECTED)", "", "tfrecords_tools/sources/test_named::labels"),
    Mutant("merge: images are known by their names", "tfrecords_tools/merge/images.py", "HAVING COUNT(DISTINCT id) > 1", "HAVING COUNT(DISTINCT id) > 99", "tfrecords_tools/merge/test_images::dataset or number_their"),
    Mutant("merge: a record joins the first image, not that of its id", "tfrecords_tools/merge/images.py", " if image not in joined]", "]", "tfrecords_tools/merge/test_images::records_of"),
    Mutant("merge: a photo that is twice in a set becomes one", "tfrecords_tools/merge/images.py", "next(free, place)", "next(free, next(iter(images.values()), place))", "tfrecords_tools/merge/test_images::twice"),
    Mutant("stats: ground truth is found by id first", "tfrecords_tools/stats/against_truth.py", "(sha256, source_id)", "('', source_id)", "tfrecords_tools/stats/test_truth_by_content::content"),
    Mutant("stats: of equal photos the first is the truth", "tfrecords_tools/stats/against_truth.py", "ORDER BY id = ? DESC", "ORDER BY id = ?", "tfrecords_tools/stats/test_truth_by_content::content"),
    Mutant("check: shared photos have the names of others", "tfrecords_tools/check/dataset_rules.py", "if number in wanted:", "if number + 1 in wanted:", "tfrecords_tools/check/test_shared_photos"),
    Mutant("check: photos are shared by name", "tfrecords_tools/check/run.py", "photos.append(_content(serialized, ids[-1]))", "photos.append(ids[-1])", "tfrecords_tools/check/test_shared_photos"),
    Mutant("a pickle's names are imported", "must_tf/runs/pretrained/torch_pickle.py", "        if (module, name) not in _ALLOWED:\n            raise UserError(", "        if (module, name) not in _ALLOWED:\n            return super().find_class(module, name)\n            raise UserError(", "must_tf/runs/pretrained/test_torch_pickle::program"),
    Mutant("a file can change the stand-ins", "must_tf/runs/pretrained/torch_pickle.py", "        raise AttributeError(name)", "        object.__setattr__(self, name, value)", "must_tf/runs/pretrained/test_torch_pickle::stand_ins"),
    Mutant("tensors reach beyond their storage", "must_tf/runs/pretrained/torch_pickle.py", "    if count > flat.size or (count and last >= flat.size):", "    if count > flat.size:", "must_tf/runs/pretrained/test_torch_pickle::beyond"),
    Mutant("a tensor's offset is ignored", "must_tf/runs/pretrained/torch_pickle.py", "as_strided(flat[tensor.offset :], size", "as_strided(flat, size", "must_tf/runs/pretrained/test_torch_pickle::share"),
    Mutant("height and width of kernels are swapped", "must_tf/runs/pretrained/names.py", "else value.transpose(2, 3, 1, 0)", "else value.transpose(3, 2, 1, 0)", "must_tf/runs/pretrained/test_weights::test_pytorch"),
    Mutant("depthwise kernels are mirrored", "must_tf/runs/pretrained/names.py", "return value.transpose(2, 3, 0, 1) if", "return value.transpose(3, 2, 0, 1) if", "must_tf/runs/pretrained/test_weights::test_pytorch"),
    Mutant("mean and variance of norms are swapped", "must_tf/runs/pretrained/names.py", 'TORCH_VARIABLES = ("weight", "bias", "weight", "bias", "running_mean", "running_var")', 'TORCH_VARIABLES = ("weight", "bias", "weight", "bias", "running_var", "running_mean")', "must_tf/runs/pretrained/test_weights::test_pytorch"),
    Mutant("a deeper network is loaded in part", "must_tf/runs/pretrained/names.py", "        if _blocks(arrays, naming) != _expected_blocks(kind):\n            continue\n", "", "must_tf/runs/pretrained/test_weights::another"),
    Mutant("gates keep Model Garden's activation", "must_tf/model/trunk.py", 'return {"se_inner_activation": config.se_activation} if', 'return {"se_inner_activation": "relu"} if', "must_tf/runs/pretrained/test_weights::test_pytorch"),
    Mutant("the variance of Keras is taken for a deviation", "must_tf/runs/pretrained/weights.py", "else np.sqrt(variance)", "else variance", "must_tf/runs/pretrained/test_weights::test_keras"),
    Mutant("Keras' published variance is taken for one", "must_tf/runs/pretrained/weights.py", "deviation = variance if np.allclose(variance, KERAS_VARIANCE, atol=1e-4) else np.sqrt(variance)", "deviation = np.sqrt(variance)", "must_tf/runs/pretrained/test_weights::own_files"),
    Mutant("Lite0's pixels are normalised like B0's", "must_tf/runs/pretrained/weights.py", "        return OF_LITE\n", "        return IMAGENET\n", "must_tf/runs/pretrained/test_weights::test_pytorch"),
    Mutant("timm's networks with other padding are loaded", "must_tf/runs/pretrained/weights.py", "    if model is None or not model[1]:", "    if model is None:", "must_tf/runs/pretrained/test_weights::settings"),
    Mutant("the normalisation of a run is not compared", "must_tf/runs/init_weights.py", "        trunk_settings.check(path, trunk_settings.of_checkpoint(prefix), model, trunk_settings.UNSEEN)", "        pass", "must_tf/runs/test_start::other_settings"),
    Mutant("the normalisation stays that of ImageNet", "must_tf/model/trunk.py", "(tf.cast(images, tf.float32) - self._mean) / self._deviation", "(tf.cast(images, tf.float32) - MEAN) / DEVIATION", "must_tf/model/test_trunk::normalis"),
    Mutant("an unused convolution is trained", "must_tf/model/trunk.py", "return backbone if len(stages) == len(backbone.output) else", "return backbone if stages else", "must_tf/model/test_trunk::levels"),
    Mutant("frozen modules have weight decay", "must_tf/model/trunk.py", 'None if "backbone" in frozen else regularizer', "regularizer", "must_tf/model/test_freezing::one_step"),
    Mutant("the backward pass runs through a frozen backbone", "must_tf/model/trunk.py", "        if not self.backbone.trainable:\n            stages = tf.nest.map_structure(tf.stop_gradient, stages)\n", "", "must_tf/model/test_freezing::backward"),
    Mutant("the backward pass runs through a frozen FPN", "must_tf/model/trunk.py", "        if self.is_frozen:\n            levels = tf.nest.map_structure(tf.stop_gradient, levels)\n", "", "must_tf/model/test_freezing::backward"),
    Mutant("a frozen FPN hides the backbone", "must_tf/model/trunk.py", "return not self.backbone.trainable and not self.decoder.trainable", "return not self.decoder.trainable", "must_tf/model/test_freezing::one_step or backward"),
    Mutant("masks: objects without one are trained on", f"{TASKS}masks/labels.py", 'labels["mask_scores"] >= config.mask_score_threshold', 'abs(labels["mask_scores"]) >= config.mask_score_threshold', "must_tf/tasks/test_objects_without_masks::training"),
    Mutant("masks: objects without one are counted", f"{TASKS}masks/labels.py", " if score != NO_MASK)", ")", "must_tf/tasks/test_objects_without_masks::keep"),
    Mutant("masks: objects without one are missed", f"{TASKS}masks/metric.py", "truth.is_crowd | ~known", "truth.is_crowd", "must_tf/tasks/test_objects_without_masks::misses"),
    Mutant("masks: what finds an object without one is wrong", f"{TASKS}masks/metric.py", "np.where(known, matching, _near(predictions, labels, image))", "matching", "must_tf/tasks/test_objects_without_masks::misses"),
    Mutant("masks: objects without one are drawn", f"{TASKS}masks/view.py", " if known[index]]", "]", "must_tf/tasks/test_objects_without_masks::drawn"),
    Mutant("export: objects without a mask get an empty one", "tfrecords_tools/export/formats.py", 'if "crops" in objects and known[place]', 'if "crops" in objects', "tfrecords_tools/sources/test_objects_without_masks::there"),
    Mutant("stats: masks of objects without one are wrong", "tfrecords_tools/stats/against_truth.py", "elif near_unknown[place] or", "elif", "tfrecords_tools/sources/test_objects_without_masks::judged"),
    Mutant("a box is taken for the mask of an object without one", "tfrecords_tools/sources/objects.py", "return np.zeros([bottom - top, right - left], np.uint8)", "return np.ones([bottom - top, right - left], np.uint8)", "tfrecords_tools/sources/test_objects_without_masks::there"),
    Mutant("must run: a step's hash is without its command", "must_tf/loop/steps.py", "repr((step.words, sorted(", "repr((sorted(", "must_tf/loop/test_run::changed_plan"),
    Mutant("must run: a step's hash is without its inputs", "must_tf/loop/steps.py", "state, inputs))", "state))", "must_tf/loop/test_run::deleted"),
    Mutant("must run: a step whose output was deleted is done", "must_tf/loop/steps.py", 'before.get("hash") == digest and os.path.exists(step.output)', 'before.get("hash") == digest', "must_tf/loop/test_run::deleted"),
    Mutant("must run: a step is remembered before it ends", "must_tf/loop/steps.py", "            self._remember(step, {**about, \"seconds\": seconds})\n        self", "            self._remember(step, {\"hash\": digest, **about, \"seconds\": seconds})\n        self", "must_tf/loop/test_run::killed_step"),
    Mutant("must run: a step starts before what it needs is there", "must_tf/loop/steps.py", "if not unfinished & {*entry[1].needs}]", "]", "must_tf/loop/test_steps::needs"),
    Mutant("must run: a shared process that died gets the next command", "must_tf/loop/shared_process.py", "with contextlib.suppress(BrokenPipeError):\n                _write", "with contextlib.suppress(KeyError):\n                _write", "must_tf/loop/test_shared_process::died"),
    Mutant("must run: idle processes are not used again", "must_tf/loop/shared_process.py", "            process = self._idle.pop()\n", "            pass\n", "must_tf/loop/test_shared_process::are_used_again"),
    Mutant("benchmarks: networks whose predictions are replaced are not run", "benchmarks/rows/labelling.py", "value + tf.cast(is_low, value.dtype)", "value", "benchmarks/test_labelling::made_up"),
    Mutant("must run: conversions with workers follow others", "must_tf/loop/records.py", "MANY if workers <= 1 else 0", "MANY", "must_tf/loop/test_trainings::share_no_process"),
    Mutant("must run: steps that share a process run at once", "must_tf/loop/steps.py", "len(running) == jobs or 0 < step.processes <= others", "len(running) == jobs", "must_tf/loop/test_steps::one_runs_at_a_time"),
    Mutant("must run: a training that begins beside a labelling ends it", "must_tf/loop/steps.py", "if not any(step.processes for _, step in running.values()):", "if True:", "must_tf/loop/test_steps::one_runs_at_a_time"),
    Mutant("labelling: without a missing shard threads are not settled", "tfrecords_tools/label/run.py", "settle()  # also if", "# also if", "tfrecords_tools/label/test_parallelism::no_shard_is_missing"),
    Mutant("must run: a shared process keeps what its commands leave", "must_tf/loop/shared_process.py", "        gc.unfreeze()\n", "", "must_tf/loop/test_shared_process::not_kept"),
    Mutant("must run: output that is no text ends it", "must_tf/common/subprocesses.py", 'errors="backslashreplace",', "", "must_tf/common/test_subprocesses::no_text"),
    Mutant("must run: a command that fails ends its shared process", "must_tf/loop/shared_process.py", "if code in (interrupts.INTERRUPTED, interrupts.TERMINATED):", "if code:", "must_tf/loop/test_shared_process::logs_and_codes"),
    Mutant("must run: what was loaded for labelling stays beside a training", "must_tf/loop/steps.py", "                    if not step.processes:\n                        self._shared.end()\n", "", "must_tf/loop/test_steps::labelling_have_ended"),
    Mutant("label: a process forgets the teachers of the dataset before", "tfrecords_tools/label/job.py", "[: -max(KEPT, len(wanted))]", "[: -len(wanted)]", "tfrecords_tools/label/test_job::kept"),
    Mutant("must run: with --jobs, a failed step leaves the others running", "must_tf/loop/steps.py", "                    subprocesses.end_all()  # once more if a step was about to begin\n", "", "must_tf/loop/test_steps::fails"),
    Mutant("must run: a step begins although another one failed", "must_tf/loop/steps.py", "        if self._is_ending.is_set():\n", "        if False:\n", "must_tf/loop/test_steps::never_begun"),
    Mutant("must run: what a killed step wrote for another plan is done", "must_tf/loop/steps.py", "        self._remember(step, {**about, \"seconds\": seconds})  #", "        #", "must_tf/loop/test_steps::as_before"),
    Mutant("must run: what was made from other input is gone on with", "must_tf/loop/steps.py", "        _remove(step.output)\n", "", "must_tf/loop/test_steps::other_input"),
    Mutant("must run: what a killed step made from other input is gone on with", "must_tf/loop/steps.py", 'about = {"from": made_from, ', 'about = {', "must_tf/loop/test_steps::other_input"),
    Mutant("databases are left open", "tfrecords_tools/writing/on_disk.py", "            self.close()", "            pass", "tfrecords_tools/writing/test_on_disk::last_user"),
    Mutant("must run: a row that is added removes the others", "must_tf/loop/steps.py", "if before.get(path, content) != content]", "if before.get(path) != content]", "must_tf/loop/test_steps::only_the_parts"),
    Mutant("must run: a changed part stays", "must_tf/loop/steps.py", "    for path in found:\n        _remove(path)\n", "", "must_tf/loop/test_steps::only_the_parts"),
    Mutant("must run: a part that comes back is not compared", "must_tf/loop/steps.py", '{**(before["parts"] if before else {}), **parts}', "parts", "must_tf/loop/test_steps::only_the_parts"),
    Mutant("must run: transfers do not know what their columns are made from", "must_tf/loop/transfers.py", "parts |= {folder.folder: columns", "parts = parts or {folder.folder: columns", "must_tf/loop/test_trainings::transfers_start"),
    Mutant("must run: other weights to start from are not noticed", "must_tf/loop/trainings.py", "{config: values}, needs, state=self.start_state)", "{config: values}, needs)", "must_tf/loop/test_trainings::other_weights"),
    Mutant("must run: mistakes in the file wait for TensorFlow", "must_tf/loop/command.py", "are_told = _tell(mistakes)", "are_told = False", "must_tf/loop/test_command::at_once"),
    Mutant("must run: what follows from a mistake is named too", "must_tf/loop/checks.py", "if trainings.plan.is_whole:", "if True:", "must_tf/loop/test_command::nothing_else"),
    Mutant("must run: the disk is checked for records only", "must_tf/loop/disk.py", "        sizes = needed(parameters(trainings, values))", "        pass", "must_tf/loop/test_dry_run::full_disk"),
    Mutant("must run: given photos on both sides are not seen", "must_tf/loop/shared_photos.py", "np.intersect1d(photos, _photos(other))", "photos[:0]", "must_tf/loop/test_shared_photos::both_sides"),
    Mutant("must run: settings of all teachers are ignored", "must_tf/loop/trainings.py", "own[-1] if own else self.plan.every_teacher", "own[-1] if own else RunSettings()", "must_tf/loop/test_trainings::all_teachers"),
    Mutant("a training that is told to end loses its step", "must_tf/cli/train.py", "            _save_last(runner)  #", "            pass  #", "must_tf/training/test_averages::interrupted"),
    Mutant("must run: given records that changed are not read again", "must_tf/loop/steps.py", "else _foreign_state(path) for path", 'else "" for path', "must_tf/loop/test_steps::not_the_loops_own"),
    Mutant("must run: config values of a plan are not checked", "must_tf/loop/plan_rules.py", "                config_values.apply(experiment_config", "                (lambda *_: None)(experiment_config", "must_tf/loop/test_plan_file::named_with_its_key"),
    Mutant("must run: settings of a teacher's first task are ignored", "must_tf/loop/trainings.py", "return [run for run in planned if run != RunSettings()]", "return planned", "must_tf/loop/test_trainings::one_group_of_settings"),
    Mutant("must run: records are said to be divided", "must_tf/loop/plan_file.py", "            share = 0.0\n        is_trained_on", "        is_trained_on", "must_tf/loop/test_plan_file::is_read"),
    Mutant("must run: a student to compare is trained on datasets that it leaves out", "must_tf/loop/trainings.py", "if not chosen or {*source.members} <= {*chosen}", "if True", "must_tf/loop/test_trainings::to_compare_differ"),
    Mutant("must run: a student without pseudo labels is trained on them", "must_tf/loop/trainings.py", "self._labelled() if compared.labels else self.folders.train", "self._labelled()", "must_tf/loop/test_trainings::to_compare_differ"),
    Mutant("transfers: rows of one column are trained in all", "must_tf/transfers/cells.py", "[row for row in rows if row.name in (column.rows or (row.name,))]", "list(rows)", "must_tf/transfers/test_transfers::of_its_own"),
    Mutant("must run: labels that were not judged are not mentioned", "must_tf/common/subprocesses.py", '"not judged", ', "", "must_tf/common/test_subprocesses::progress_replaces"),
    Mutant("must run: a task without validation labels is not mentioned", "must_tf/loop/checks.py", "for folder in validation)]\n    if not tasks:", "for folder in train)]\n    if not tasks:", "must_tf/loop/test_trainings::nothing_measures"),
    Mutant("must run: a step outlives a killed run", "must_tf/common/subprocesses.py", "while os.getppid() == parent:", "while True:", "must_tf/loop/test_run::ends_with"),
    Mutant("must run: the children of a step watch its parent", "must_tf/common/subprocesses.py", "os.environ.pop(PARENT, ", "os.environ.get(PARENT, ", "must_tf/loop/test_run::ends_with"),
    Mutant("must run: two runs share a folder", "must_tf/loop/command.py", "with folder_lock.held(plan.out):", "with contextlib.nullcontext():", "must_tf/loop/test_run::two_runs"),
    Mutant("must run: validation photos are trained on", "must_tf/loop/records.py", 'for word in ("--exclude", other.pattern)]', "for word in ()]", "must_tf/loop/test_trainings::set_apart"),
    Mutant("must run: merged validation data numbers its own classes first", "must_tf/loop/records.py", "for one in (*classes_of, *members)]),", "for one in (*members, *classes_of)]),", "must_tf/loop/test_trainings::one_of_them"),
    Mutant("must run: a lone validation set keeps its own classes", "must_tf/loop/records.py", "    if differing:\n", "    if len(differing) > 1:\n", "must_tf/loop/test_trainings::one_of_them"),
    Mutant("must run: a teacher is trained on images without its labels", "must_tf/loop/trainings.py", "train = [folder for folder in self.folders.train if any(map(folder.facts.labelled.get, teacher.tasks))]", "train = list(self.folders.train)", "must_tf/loop/test_trainings::lack_has"),
    Mutant("must run: the student is trained on records as they were", "must_tf/loop/trainings.py", "dataclasses.replace(folder, folder=step.output) if (step := outputs[folder.name]) else folder", "folder", "must_tf/loop/test_trainings::only_the_labels"),
    Mutant("must run: the pace is that of the warm-up", "must_tf/runs/rate.py", "files.parse_json(lines[-1]", "files.parse_json(lines[0]", "must_tf/loop/test_trainings::hours_become"),
    Mutant("must run: a column of a transfer trains all tasks of its dataset", "must_tf/loop/transfers.py", 'RunFacts("transfer", (task,), images)', 'RunFacts("transfer", planned.tasks, images)', "must_tf/loop/test_trainings::several_tasks"),
    Mutant("must run: losses follow the paper's rule without a teacher's learning rate", "must_tf/loop/trainings.py", '"paper" if trained == set(self.tasks())', '"paper" if about.keys() == set(self.tasks())', "must_tf/loop/test_trainings::table_shows"),
    Mutant("must run: a model that has changed is not asked again", "must_tf/loop/trainings.py", 'return "" if self.is_run else describe(self.path, self.tasks).about.id', 'return ""', "must_tf/loop/test_trainings::measured_first"),
    Mutant("merge: the classes of other records do not come first", "tfrecords_tools/merge/run.py", "names = [*first, *(each.classes for each in inputs)]", "names = [*(each.classes for each in inputs), *first]", "tfrecords_tools/merge/test_run::numbers_of_others"),
    Mutant("evaluate: pseudo labels are ground truth", "tfrecords_tools/evaluate/run.py", 'REAL = "real:"', 'REAL = ""', "tfrecords_tools/evaluate/test_run::no_truth"),
    Mutant("evaluate: the order of the classes does not matter", "tfrecords_tools/evaluate/run.py", "list(others) != list(names)", "set(others) != set(names)", "tfrecords_tools/evaluate/test_run::other_classes"),
    Mutant("dry run: shared photos are counted on the wrong side", "must_tf/cli/dry_run.py", "contents.shared(numbers[1], numbers[0])", "contents.shared(numbers[0], numbers[1])", "must_tf/cli/test_dry_run::validated_on"),
    Mutant("predict: batches depend on what is finished", "must_tf/cli/predict.py", "_batches(list(photos), left,", "_batches(list(left), left,", "must_tf/cli/test_predict::killed"),
    Mutant("help names another command", "must_tf/common/command_line.py", 'name if name.startswith("must") else program', "program", "must_tf/test_main::typed"),
    Mutant("yolo: a box begins at its centre", "tfrecords_tools/sources/drawn/yolo.py", "[x - width / 2, y - height / 2, width, height]", "[x, y, width, height]", "tfrecords_tools/sources/drawn/test_yolo::centres"),
    Mutant("yolo: a missing label file is an empty one", "tfrecords_tools/sources/drawn/yolo.py", "if text is None and not self.background:", "if False:", "tfrecords_tools/sources/drawn/test_yolo::centres"),
    Mutant("yolo: four corners are always polygons", "tfrecords_tools/sources/drawn/yolo.py", "and not rows.counts[POLYGON] and not self.corners", "and False", "tfrecords_tools/sources/drawn/test_yolo::four_corners"),
    Mutant("yolo: corners are taken for sizes", "tfrecords_tools/sources/drawn/yolo.py", "self.counts[OVER] * 2 > boxes == self.counts[ORDERED]", "False", "tfrecords_tools/sources/drawn/test_yolo::contradiction"),
    Mutant("yolo: a line that is there twice is two objects", "tfrecords_tools/sources/drawn/yolo.py", "seen.add(tuple(line.split()))", "pass", "tfrecords_tools/sources/drawn/test_yolo::not_an_object"),
    Mutant("yolo: keypoints make a polygon", "tfrecords_tools/sources/drawn/yolo.py", "(keypoints and count == 4 + keypoints)", "False", "tfrecords_tools/sources/drawn/test_yolo::keypoints"),
    Mutant("yolo: the first folder of images is replaced", "tfrecords_tools/sources/drawn/yolo_data.py", "(?!.*/images/)", "", "tfrecords_tools/sources/drawn/test_yolo::last_folder"),
    Mutant("yolo: names are YAML's own values", "tfrecords_tools/sources/drawn/yolo_data.py", '"--data"), TextLoader)', '"--data"), yaml.SafeLoader)', "tfrecords_tools/sources/drawn/test_yolo::sizes_in_shares"),
    Mutant("labelme: shapes of a group are several objects", "tfrecords_tools/sources/drawn/labelme.py", "if group is not None else place", "if False else place", "tfrecords_tools/sources/drawn/test_labelme::group"),
    Mutant("labelme: a circle's second point is its radius", "tfrecords_tools/sources/drawn/labelme.py", "np.hypot(on_x - x, on_y - y)", "on_x - x", "tfrecords_tools/sources/drawn/test_labelme::circle"),
    Mutant("cvat: runs of a mask go down the columns", "tfrecords_tools/sources/drawn/cvat.py", "values.repeat(runs).reshape(height, width)", "values.repeat(runs).reshape(width, height).T", "tfrecords_tools/sources/drawn/test_cvat::runs"),
    Mutant("cvat: a rotated box turns about its corner", "tfrecords_tools/sources/drawn/cvat.py", "centre = ((x0 + x1) / 2, (y0 + y1) / 2)", "centre = (x0, y0)", "tfrecords_tools/sources/drawn/test_cvat::rotated"),
    Mutant("label studio: shares are turned instead of pixels", "tfrecords_tools/sources/drawn/label_studio.py", "shapes.turned(shapes.rectangle((x, y), (x + width, y + height)), (x, y), turn)", "(np.array(shapes.turned(shapes.rectangle((value['x'], value['y']), (value['x'] + value['width'], value['y'] + value['height'])), (value['x'], value['y']), turn)) * per_cent).tolist()", "tfrecords_tools/sources/drawn/test_label_studio::turns"),
    Mutant("label studio: a classified task was looked at for objects", "tfrecords_tools/sources/drawn/label_studio.py", "found.objects if found.objects or found.are_none else None", "found.objects", "tfrecords_tools/sources/drawn/test_label_studio::choice"),
    Mutant("label studio: the first channel of a brush is the mask", "tfrecords_tools/sources/drawn/brush.py", "[..., -1] > OPAQUE", "[..., 0] > OPAQUE", "tfrecords_tools/sources/drawn/test_label_studio::brush"),
    Mutant("label studio: choices of a region are the image's class", "tfrecords_tools/sources/drawn/label_studio.py", "if kind == CHOICES and not value.keys() - {CHOICES}:", "if kind == CHOICES:", "tfrecords_tools/sources/drawn/test_label_studio::region"),
    Mutant("annotation tools: two files of one name have one id", "tfrecords_tools/sources/files.py", "    if taken.add(source_id):\n        return source_id\n    account", "    if True:\n        return source_id\n    account", "tfrecords_tools/sources/drawn/test_via::two_ids"),
    Mutant("annotation tools: EXIF never turns a photo without objects", "tfrecords_tools/sources/drawn/pictures.py", "    if not kept:\n        return pixels.SHOWN\n", "", "tfrecords_tools/sources/drawn/test_via::exif"),
    Mutant("EXIF: labels are where their format puts them, whatever they reach", "tfrecords_tools/sources/pixels.py", "chosen = frame.usual if fits[STORED] == fits[SHOWN] else STORED if fits[STORED] else SHOWN", "chosen = frame.usual", "tfrecords_tools/sources/test_exif::where_they_fit"),
    Mutant("EXIF: a label may not reach a pixel beyond its image", "tfrecords_tools/sources/pixels.py", "BEYOND = 1.0", "BEYOND = 0.0", "tfrecords_tools/sources/test_exif::where_they_fit"),
    Mutant("EXIF: VIA's boxes are on the stored pixels", "tfrecords_tools/sources/drawn/via.py", "pixels.Unsized(pixels.SHOWN)", "pixels.Unsized(pixels.STORED)", "tfrecords_tools/sources/test_exif::other_pixels"),
    Mutant("EXIF: Open Images' boxes are on the turned pixels", "tfrecords_tools/sources/drawn/open_images.py", "pixels.STORED, entries", "pixels.SHOWN, entries", "tfrecords_tools/sources/test_exif::other_pixels"),
    Mutant("EXIF: a photo that is turned already is said to be turned by XMP only", "tfrecords_tools/sources/pixels.py", " and not image_files.frames(data).is_turned", "", "tfrecords_tools/sources/test_exif::only_xmp"),
    Mutant("left-over files: hidden ones are counted", "tfrecords_tools/sources/leftovers.py", "(name for name in listed if not files.is_hidden(name))", "listed", "tfrecords_tools/sources/test_leftovers::folders_of_files"),
    Mutant("left-over files: every number is an ending", "tfrecords_tools/sources/files.py", r"\.(?=.*[a-z])[a-z0-9_]{1,12}", r"\..*", "tfrecords_tools/sources/test_leftovers::folders_of_files"),
    Mutant("left-over files: a folder whose name begins the same is inside", "tfrecords_tools/sources/leftovers.py", 'os.path.relpath(path, folder).split("/")[0] != ".."', "path.startswith(folder)", "tfrecords_tools/sources/test_leftovers::folders_of_files"),
    Mutant("left-over files: the annotations in the images' folder are one", "tfrecords_tools/sources/coco/coco.py", "present.use_paths(leftovers.paths_of(listing))", "pass", "tfrecords_tools/sources/test_leftovers::annotations_in"),
    Mutant("a link to a folder above is followed for ever", "must_tf/common/walking.py", "if real in above:", "if len(above) > 4:", "must_tf/common/test_walking::links"),
    Mutant("a few pseudo labels are called fit", "tfrecords_tools/stats/tables.py", "if len(unjudged) == len(content[\"tasks\"]):", "if False:", "tfrecords_tools/stats/test_run::called_fit"),
    Mutant("CIFAR-100: labels are cut to whole numbers", "tfrecords_tools/sources/published/cifar100.py", "isinstance(label, int | np.integer) and 0 <= label", "0 <= float(label)", "tfrecords_tools/sources/test_archives::contradicts"),
    Mutant("the median of depth is a bin's middle", "tfrecords_tools/reading/depth_range.py", "min(max(middle, self.least), self.largest)", "middle", "tfrecords_tools/cli/test_convert::metres"),
    Mutant("XML: an ampersand at the end of a part is bare", "must_tf/common/xml_stream.py", "end = tail.start() if tail else len(rest)", "end = len(rest)", "must_tf/common/test_xml_stream::names_are_the_same"),
    Mutant("XML: the declared encoding of a file with bare ampersands is ignored", "must_tf/common/xml_stream.py", "            lambda: _cleaned(_declared(read())),\n", "", "must_tf/common/test_xml_stream::names_are_the_same"),
    Mutant("hypersim: normals are not compared with the depth", "tfrecords_tools/sources/published/hypersim.py", "surface.note_contradictions(", "(lambda *given: None)(", "tfrecords_tools/sources/published/test_kitti_and_hypersim::contradict"),
    Mutant("taskonomy: the camera is taken for a known one", "tfrecords_tools/sources/published/taskonomy.py", "note_contradictions(found, None, path, account)", "note_contradictions(found, surface.usual(8, 12), path, account)", "tfrecords_tools/sources/published/test_taskonomy::contradict"),
    Mutant("JSON: an object whose members are wanted alone is read whole", "tfrecords_tools/sources/coco/json_stream.py", "elif key in objects and", "elif False and", "tfrecords_tools/sources/test_json_stream::members"),
    Mutant("hugging face: crowds are objects", "tfrecords_tools/sources/published/hugging_face.py", "crowd = int(any(one.get(key) for key in CROWDS))", "crowd = 0", "tfrecords_tools/sources/published/test_hugging_face::crowds"),
    Mutant("via: the angle of an ellipse is in degrees", "tfrecords_tools/sources/drawn/via.py", 'math.degrees(float(shape.get("theta", 0)))', 'float(shape.get("theta", 0))', "tfrecords_tools/sources/drawn/test_via::ellipses"),
    Mutant("open images: every class was looked for", "tfrecords_tools/sources/drawn/open_images.py", "relative=True, seen=sorted(seen))", "relative=True)", "tfrecords_tools/sources/drawn/test_open_images::absent"),
    Mutant("a class that is not in the list gets the first id", "tfrecords_tools/sources/drawn/pictures.py", 'if entry["category_id"] in every_id:', "if True:", "tfrecords_tools/sources/drawn/test_labelme::given_classes"),
    Mutant("an image is annotated twice", "tfrecords_tools/sources/drawn/image_paths.py", "if not self._taken.add(found.path):", "if not self._taken.add(names[0]):", "tfrecords_tools/sources/drawn/test_image_paths::once"),
    Mutant("relabelled masks keep the order of their own", "tfrecords_tools/convert/relabelled.py", "(*discover()[task].needs, task) if each", "(task,) if each", "tfrecords_tools/convert/test_relabelled::lack"),
    Mutant("dropped pixels become the last class", "tfrecords_tools/convert/relabelled.py", "np.where(places >= 0, places, IGNORE)", "places % len(places)", "tfrecords_tools/convert/test_relabelled::dropped_class"),
    Mutant("export-yolo: pixels that touch at a corner are one part", "tfrecords_tools/export/outlines.py", "return RIGHT[direction] if RIGHT[direction] in ways else ways[0]", "return ways[0]", "tfrecords_tools/export/test_yolo::by_hand or again"),
    Mutant("export-yolo: holes are lost", "tfrecords_tools/export/outlines.py", "for loop in found[1:]:", "for loop in found[1:1]:", "tfrecords_tools/export/test_yolo::mask_again"),
    Mutant("export-yolo: boxes and polygons in one file", "tfrecords_tools/export/yolo.py", "and bool(known[kept].all())", "and True", "tfrecords_tools/export/test_yolo::one_kind"),
    Mutant("export-yolo: boxes are rounded", "tfrecords_tools/export/yolo.py", "DIGITS = range(6, 12)", "DIGITS = range(6, 7)", "tfrecords_tools/export/test_yolo::digits"),
    Mutant("depth of any median is believed", "tfrecords_tools/sources/surface.py", "not NEAREST <= (median := float(np.median(known))) <= FARTHEST", "(median := float(np.median(known))) < 0", "tfrecords_tools/sources/published/test_nyu_values::millimetres"),
    Mutant("vectors of any length are normals", "tfrecords_tools/sources/surface.py", "<= UNIT[1])).mean() < 0.5", "<= UNIT[1])).mean() < 0", "tfrecords_tools/sources/test_diode_values::another_length"),
    Mutant("a JPEG is a map of ids", "tfrecords_tools/sources/maps.py", "if kind in image_files.JPEG_FORMATS:", "if False:", "tfrecords_tools/sources/test_ade_and_cityscapes::jpeg"),
    Mutant("diode: depth is kept without its damaged mask", "tfrecords_tools/sources/diode.py", 'arrays.pop("depth", None)', "pass", "tfrecords_tools/sources/test_diode_values::damaged_one"),
    Mutant("cityscapes: instance ids of 8 bits are no things", "tfrecords_tools/sources/cityscapes.py", "(_label_ids(ids) > LAST)", "(ids >= (LAST + 1) * INSTANCES)", "tfrecords_tools/sources/test_ade_and_cityscapes::8_bits"),
    Mutant("cityscapes: only the last map must have the image's size", "tfrecords_tools/sources/cityscapes.py", "maps.require_size(ids, info, _task(kind), names[kind])", "pass", "tfrecords_tools/sources/test_ade_and_cityscapes::another_size"),
    Mutant("nyu: arrays of any size are read", "tfrecords_tools/sources/published/nyu.py", "content[key].shape != wanted[key]", "content[key].ndim != len(wanted[key])", "tfrecords_tools/sources/published/test_nyu_values::do_not_fit"),
    Mutant("nyu: the last line of a name counts", "tfrecords_tools/sources/published/nyu.py", "if name in chosen:", "if False:", "tfrecords_tools/sources/published/test_nyu_values::two_classes"),
    Mutant("kitti: any distance is measured", "tfrecords_tools/sources/published/kitti.py", "(known > FARTHEST).mean()", "(known > 1e9).mean()", "tfrecords_tools/sources/published/test_kitti_and_hypersim::laser"),
    Mutant("mg: records that count from 0 lose their first class", "tfrecords_tools/sources/published/mg.py", "if 0 in labels and", "if False and", "tfrecords_tools/sources/published/test_mg_values::count_from_0"),
    Mutant("mg: ids may repeat", "tfrecords_tools/sources/published/mg_record.py", "if own and seen.setdefault(own, name) != name:", "if False:", "tfrecords_tools/sources/published/test_mg_values::repeat"),
    Mutant("mg: the stated size is not looked at", "tfrecords_tools/sources/published/mg_record.py", "        return frames.shown\n", "        return pixels.STORED\n", "tfrecords_tools/sources/published/test_mg_values::stated_size"),
    Mutant("threads share a record", "must_tf/common/upstream.py", "{threading.get_ident()}", "{os.getpid()}", "must_tf/common/test_upstream::checksums_of_several"),
    Mutant("a model gives masks to real boxes", "must_tf/loop/checks.py", "elif needs and task not in added and not has_labels:", "elif False:", "must_tf/loop/test_trainings::could_get"),
    Mutant("mg: damaged records are read", "tfrecords_tools/sources/archives.py", "if upstream.record_checksum(record) != checksum:", "if False:", "tfrecords_tools/sources/published/test_mg_values::flipped"),
    Mutant("a box in pixels is as large as the image", "tfrecords_tools/sources/objects.py", "if BEYOND < farthest < math.inf:", "if False:", "tfrecords_tools/sources/published/test_mg_values::box_in_pixels"),
    Mutant("tfds: all boxes have the usual form", "tfrecords_tools/sources/tfds_features.py", "FORMS[form or USUAL]", "FORMS[USUAL]", "tfrecords_tools/sources/test_tfds_features::declares"),
    Mutant("tfds: sizes are corners", "tfrecords_tools/sources/tfds_features.py", "if form == SIZES:", "if False:", "tfrecords_tools/sources/test_tfds_features::declares"),
    Mutant("tfds: an unknown flag is set", "tfrecords_tools/sources/tfds.py", "any(columns[key][number] > 0 for", "any(bool(columns[key][number]) for", "tfrecords_tools/sources/test_tfds_features::flags"),
    Mutant("tfds: maps are decoded to grey", "tfrecords_tools/sources/tfds.py", "if is_file else (paths[IMAGE],)", "if False else (paths[IMAGE],)", "tfrecords_tools/sources/test_tfds_features::their_files"),
    Mutant("kitti: depth is in millimetres", "tfrecords_tools/sources/published/kitti.py", "UNITS = 256.0", "UNITS = 1000.0", "tfrecords_tools/sources/published/test_kitti_and_hypersim::256ths"),
    Mutant("hypersim: distances are depth", "tfrecords_tools/sources/published/hypersim.py", "metres = distance / np.linalg.norm(rays(*distance.shape), axis=-1)", "metres = distance", "tfrecords_tools/sources/published/test_kitti_and_hypersim::distances"),
    Mutant("hypersim: normals face away", "tfrecords_tools/sources/published/hypersim.py", "np.where(away, -unit, unit)", "unit", "tfrecords_tools/sources/published/test_kitti_and_hypersim::distances"),
    Mutant("webdataset: a sample that another shard has replaces it", "tfrecords_tools/sources/published/webdataset.py", "if not taken.add(item.source_id):", "if False:", "tfrecords_tools/sources/published/test_webdataset::image_and"),
    Mutant("hugging face: corners are sizes", "tfrecords_tools/sources/published/hugging_face.py", 'if self.boxes.endswith("corners"):', "if False:", "tfrecords_tools/sources/published/test_hugging_face::objects"),
    Mutant("hugging face: -1 is the last class", "tfrecords_tools/sources/published/hugging_face.py", "isinstance(label, int) and 0 <= label < len(names)", "isinstance(label, int)", "tfrecords_tools/sources/published/test_hugging_face::class_label"),
    Mutant("imagenet: only the last folder is a synset", "tfrecords_tools/sources/imagenet.py", "for folder in reversed(folders) if", "for folder in folders[-1:] if", "tfrecords_tools/sources/published/test_tiny_imagenet::training"),
    Mutant("taskonomy: normals point away", "tfrecords_tools/sources/published/taskonomy.py", "AXES = np.array([1.0, 1.0, -1.0]", "AXES = np.array([1.0, 1.0, 1.0]", "tfrecords_tools/sources/published/test_taskonomy::are_ours"),
    Mutant("taskonomy: unknown depth is 128 metres", "tfrecords_tools/sources/published/taskonomy.py", "units == UNKNOWN", "units == 0", "tfrecords_tools/sources/published/test_taskonomy::are_ours"),
    Mutant("serving: huge images are decoded", "must_tf/serving/screening.py", "(count <= limit)", "(count >= 0)", "must_tf/serving/test_screening::huge"),
    Mutant("serving: a PNG's height and width are swapped", "must_tf/serving/screening.py", "return tf.reverse(tf.ensure_shape(width_height, [2]), [0])", "return tf.ensure_shape(width_height, [2])", "must_tf/serving/test_screening::header"),
    Mutant("serving: the limit of a batch forgets that maps are padded", "must_tf/serving/screening.py", "tf.reduce_prod(tf.cast(grown, tf.int64)) <= limit", "tf.reduce_prod(tf.cast(size, tf.int64)) <= limit", "must_tf/serving/test_screening::admitted or share"),
    Mutant("serving: an image that is refused makes the maps larger", "must_tf/serving/screening.py", "return tf.where(fits, grown, largest)", "return grown", "must_tf/serving/test_screening::admitted or share"),
    Mutant("serving: bad images have predictions", "must_tf/serving/saved_model.py", "return tf.cond(is_served, served,", "return tf.cond(is_served | True, served,", "must_tf/serving/test_saved_model::bad_image"),
    Mutant("serving: an empty batch is not served", "must_tf/serving/saved_model.py", "tf.cond(count > 0, lambda: inputs, lambda: _one_row(inputs))", "tf.identity(inputs)", "must_tf/serving/test_saved_model::without_images"),
    Mutant("serving: full masks are shifted by half a pixel", "must_tf/serving/objects.py", "tf.float32) + 0.5\n    places", "tf.float32)\n    places", "must_tf/serving/test_objects::full_masks"),
    Mutant("serving: an object without a likely pixel has no mask", "must_tf/serving/objects.py", "likely >= tf.minimum(best, 0.5)", "likely >= 0.5", "must_tf/serving/test_objects::full_masks"),
    Mutant("serving: scores that are not a number are cleared", "must_tf/serving/objects.py", "& ~(outputs[SCORES] < threshold)", "& (outputs[SCORES] >= threshold)", "must_tf/serving/test_objects::not_a_number"),
    Mutant("serving: versions are compared as text", "must_tf/serving/layout.py", "max(_numbers(root), default=0) + 1", "int(max(map(str, _numbers(root)), default=0)) + 1", "must_tf/serving/test_layout::next"),
    Mutant("serving: equal values at the end of a tensor are lost", "must_tf/serving/clients/client_grpc.py", "np.repeat(values[-1:], missing)", "np.zeros(missing, values.dtype)", "must_tf/serving/clients/test_client_grpc::equal"),
    Mutant("serving: the comparison with evaluation counts objects below the threshold", "must_tf/serving/checking.py", ">= threshold\n", ">= 0\n", "must_tf/cli/test_export::difference"),
    Mutant("serve: a number is a list of one", "must_tf/serving/server/encoding.py", " if value.ndim else value[()]", "", "must_tf/serving/server/test_tf_serving::selected"),
    Mutant("serve: an unknown parameter is ignored", "must_tf/serving/server/tf_serving.py", "        if name != OUTPUTS:\n", "        if False:\n", "must_tf/serving/server/test_tf_serving::selected"),
    Mutant("serve: the client passes over a photo without prediction", "must_tf/serving/clients/client_rest.py", "int(outputs[\"image/status\"] != OK)", "0", "must_tf/serving/server/test_tf_serving::client_fails"),
    Mutant("serve: a photo that did not fit beside others is refused", "must_tf/serving/server/batching.py", "[len(batch) > 1 and screening", "[False and screening", "must_tf/serving/server/test_batching::fit"),
    Mutant("serve: a model that has just answered eight waits for nobody", "must_tf/serving/server/batching.py", "min(size + len(self._waiting), self._sizes.batch)", "1", "must_tf/serving/server/test_batching::together"),
    Mutant("serve: patience ends while answers are written", "must_tf/serving/server/batching.py", "if not was_held_up or", "if True or", "must_tf/serving/server/test_batching::busy_event_loop"),
    Mutant("serve: the work of one output is that of all", "must_tf/serving/server/kserve.py", "if not parameters.get(\"binary_data\", all_binary)", "if not all_binary", "must_tf/serving/server/test_kserve::much_work"),
    Mutant("serve: long answers are written in the event loop", "must_tf/serving/server/threads.py", "if size <= SHORT:", "if True:", "must_tf/serving/server/test_threads::long_work"),
    Mutant("serve: a model waits as long as photos come", "must_tf/serving/server/batching.py", "min(PATIENCE * call, end - began)", "PATIENCE * call", "must_tf/serving/server/test_batching::waiting_for_others"),
    Mutant("the copy beside a lone image is answered", "must_tf/model/forward.py", "lambda x: x[:count], predictions", "lambda x: x, predictions", "must_tf/model/test_forward::lone"),
    Mutant("a lone image has no copy beside it", "must_tf/model/forward.py", "tf.equal(count, 1) & is_fused", "count < 0", "must_tf/model/test_forward::lone"),
    Mutant("a lone image always has a copy beside it", "must_tf/model/forward.py", "tf.equal(count, 1) & is_fused", "tf.equal(count, 1)", "must_tf/model/test_forward::lone"),
    Mutant("the copy beside a lone image has another size", "must_tf/model/forward.py", "[image_shape, image_shape[:copies]]", "[image_shape, 0.0 * image_shape[:copies]]", "must_tf/model/test_forward::lone"),
    Mutant("serve: too many connections silence those that came first", "must_tf/serving/server/http.py", "limit, self.limit_concurrency = self.limit_concurrency, None", "limit = self.limit_concurrency", "must_tf/serving/server/test_abuse::more_connections"),
    Mutant("serve: unread answers have no bound", "must_tf/serving/server/http.py", "            if unread > UNREAD and", "            if False and", "must_tf/serving/server/test_abuse::nobody_reads"),
    Mutant("serve: the last client that is behind is cut off", "must_tf/serving/server/http.py", "key=lambda one: one.behind_since):", "key=lambda one: -one.behind_since):", "must_tf/serving/server/test_abuse::nobody_reads"),
    Mutant("serve: a model waits for a whole batch", "must_tf/serving/server/batching.py", "min(size + len(self._waiting), self._sizes.batch)", "self._sizes.batch", "must_tf/serving/server/test_batching::does_not_wait"),
    Mutant("serve: photos of clients that left keep their place", "must_tf/serving/server/batching.py", "for waiting in self._waiting if not waiting.done.done())", "for waiting in self._waiting)", "must_tf/serving/server/test_batching::gone"),
    Mutant("serve: a model that is replaced ends before its last request", "must_tf/serving/server/batching.py", "gather(self._running, return_exceptions=True)\n", "gather(self._running, return_exceptions=True)\n        self._thread.shutdown()\n", "must_tf/serving/server/test_batching::replaced"),
    Mutant("serve: an answer may never be read", "must_tf/serving/server/http.py", "        if unread < before:\n", "        if True:\n", "must_tf/serving/server/test_abuse::not_read"),
    Mutant("serve: a client that reads slowly is cut off", "must_tf/serving/server/http.py", "        if unread < before:\n", "        if False:\n", "must_tf/serving/server/test_abuse::not_read"),
    Mutant("serve: the queue has no end", "must_tf/serving/server/batching.py", "if len(self._waiting) + len(photos) > self._sizes.queue:", "if False:", "must_tf/serving/server/test_batching::refuses"),
    Mutant("serve: a body without a stated size has no limit", "must_tf/serving/server/reading.py", "if size > limits.bytes:", "if False:", "must_tf/serving/server/test_abuse::large"),
    Mutant("serve: the head of a request may take for ever", "must_tf/serving/server/http.py", "self.loop.call_later(HEAD_SECONDS, self._close_idle)", "self.loop.call_later(1e6, self._close_idle)", "must_tf/serving/server/test_abuse::head"),
    Mutant("serve: any token opens the door", "must_tf/serving/server/app.py", "if token and not hmac.compare_digest(", "if token and not given and not hmac.compare_digest(", "must_tf/serving/server/test_abuse::token"),
    Mutant("serve: the older version drops what it has accepted", "must_tf/serving/server/batching.py", "await asyncio.gather(self._running, return_exceptions=True)", "self._running.cancel()", "must_tf/serving/server/test_batching::closing"),
    Mutant("serve: padded maps begin at the wrong end", "must_tf/serving/server/encoding.py", "joined[place, : value.shape[0], : value.shape[1]] = value", "joined[place, largest[0] - value.shape[0] :, : value.shape[1]] = value", "must_tf/serving/server/test_tf_serving::rows"),
)  # fmt: skip


def planted(mutant: Mutant, folder: Path) -> str | None:
    """Plants a bug in a copy of the project.

    Returns:
      The file's original text, or None if the text to be replaced is not there.
    """
    path = folder / mutant.file
    text = path.read_text()
    if mutant.old not in text:
        return None
    path.write_text(text.replace(mutant.old, mutant.new))
    return text


def preload() -> None:
    """Imports the libraries that tests need, so that forked children do not spend half of their time on it.

    TensorFlow starts its threads with the first operation, so that a process that has only imported it can be forked.
    """
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    for name in LIBRARIES:
        importlib.import_module(name)


def run_pytest(mutant: Mutant, folder: Path, output: Path) -> NoReturn:
    """Runs a bug's tests in this process, a forked child, with the copy's packages. Never returns."""
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]  # those of the original
    os.chdir(folder)
    os.environ["PYTHONPATH"] = sys.path[0] = str(folder)
    path, *part = mutant.tests.split("::")
    arguments = ["-qx", "-p", "no:cacheprovider", "--tb=no", f"tests/{path}.py", *(["-k", part[0]] if part else [])]
    code = 3  # pytest's own for an internal error
    try:
        code = pytest.main(arguments)
    finally:
        sys.stdout.flush()
        os._exit(code)


def first_failure(output: str) -> str:
    """Returns the first test that failed in pytest's output; empty if all passed.

    "(in a fixture)" follows the name if the test did not get as far as its body.
    """
    for line in output.splitlines():
        outcome, _, place = line.partition(" ")
        if outcome in ("FAILED", "ERROR"):
            name = place.rpartition("::")[2].split(" - ")[0]
            return name if outcome == "FAILED" else f"{name} (in a fixture)"
    return ""


class Trial(NamedTuple):
    """A planted bug whose tests are running in the process `pid`."""

    mutant: Mutant
    folder: Path
    original: str
    output: Path
    started: float


def started(mutant: Mutant, folder: Path, original: str) -> tuple[int, Trial]:
    """Forks a process that runs the tests of a bug that is planted in the folder."""
    output = folder.with_suffix(".txt")
    pid = os.fork()
    if pid == 0:
        run_pytest(mutant, folder, output)
    return pid, Trial(mutant, folder, original, output, time.monotonic())


def ended(trial: Trial, code: int) -> str:
    """Takes the bug out again. Returns a line that starts with the outcome."""
    (trial.folder / trial.mutant.file).write_text(trial.original)
    output = trial.output.read_text()
    if code not in (0, 1):
        return f"NO TEST RAN          {trial.mutant.breaks}: pytest ended with {code}\n{output[-1500:]}"
    test = first_failure(output)
    outcome = "caught" if test else "SURVIVED"
    return f"{outcome:12}{time.monotonic() - trial.started:6.1f} s  {trial.mutant.breaks}{test and ': ' + test}"


def copies(count: int, parent: Path) -> Iterator[Path]:
    """Yields copies of the project in which bugs can be planted."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "runs", "records", "exports")
    for number in range(count):
        folder = parent / str(number)
        folder.mkdir()
        for name in (".gitignore", *(path.name for path in ROOT.iterdir() if not path.name.startswith("."))):
            source = ROOT / name
            if name in ("must_tf", "tests"):  # they have rooms named runs
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif source.is_dir() and not ignored(str(ROOT), [name]):
                shutil.copytree(source, folder / name, ignore=ignored)
            elif source.is_file():
                shutil.copy(source, folder / name)
        yield folder


def run_all(mutants: Sequence[Mutant], jobs: int) -> int:
    """Plants the bugs, `jobs` at a time, each in its own copy. Returns how many were not caught."""
    missed: list[str] = []
    running: dict[int, Trial] = {}

    def report(line: str) -> None:
        print(line, flush=True)
        if not line.startswith("caught"):
            missed.append(line)

    preload()
    with tempfile.TemporaryDirectory() as name:
        free, waiting = list(copies(jobs, Path(name))), list(mutants)
        while waiting or running:
            while waiting and free:
                mutant = waiting.pop(0)
                original = planted(mutant, free[-1])
                if original is None:
                    report(f"NOT PLANTED          {mutant.breaks}")
                    continue
                pid, trial = started(mutant, free.pop(), original)
                running[pid] = trial
            if running:
                pid, status = os.wait()
                trial = running.pop(pid)
                report(ended(trial, os.waitstatus_to_exitcode(status)))
                free.append(trial.folder)
    print(f"\n{len(mutants) - len(missed)} of {len(mutants)} caught.", *missed, sep="\n  ")
    return len(missed)


def main() -> int:
    """Returns how many of the chosen bugs were not caught."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("word", nargs="?", default="", help="part of the names of the bugs to plant; all by default")
    parser.add_argument("--jobs", type=int, default=1, help="bugs tested at the same time")
    parser.add_argument(
        "--control", action="store_true", help="plant nothing: every test must pass, so all must survive"
    )
    flags = parser.parse_args()
    mutants = [mutant for mutant in MUTANTS if flags.word in mutant.breaks]
    if flags.control:
        mutants = list({mutant.tests: mutant._replace(new=mutant.old) for mutant in mutants}.values())
        return len(mutants) - run_all(mutants, flags.jobs)
    return run_all(mutants, flags.jobs)


if __name__ == "__main__":
    sys.exit(main() > 0)
