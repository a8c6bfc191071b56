"""Several batches in one network at a time, as the command has them on a CPU; a real detector is needed to see it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import teaching
from tests.support.tiny import ROOT, write_set

BATCHES = 8
# The sum of shares in `decode_boxes` would become a variable by TensorFlow's optimizer, whose name calls share.
LABEL = """
import sys
from must_tf import student
from tfrecords_tools import label_shard, label_threads
from tfrecords_tools.teachers import About
from tfrecords_tools.teachers.trained import TrainedTeacher
label_threads.settle()
label_threads.share = lambda: 4
config = student.StudentConfig(input_size=128)
config.override({"model": {
    "backbone": {"type": "resnet", "resnet": {"model_id": 10, "depth_multiplier": 0.25}},
    "decoder": {"type": "fpn", "fpn": {"num_filters": 16}},
}})
detection = config.tasks.detection
detection.enabled, detection.classes, detection.filters, detection.fc = True, tuple(map(str, range(200))), 16, 32
model = student.build(config)
forward = lambda image, shape: model({"image": image, "image_shape": shape}, training=False)["predictions"]
about = About("test", ("detection",), "0" * 12, {"detection": list(map(str, range(200)))})
teacher = TrainedTeacher(about, forward, student.enabled(config), 128)
records = list(label_shard.labelled(sys.argv[1], [teacher], lambda count: None))
print(len(records), label_threads.passes())
"""


def test_calls_of_a_network_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    images = [teaching.unlabelled(number, teaching.red_slope(60, 80)) for number in range(8 * BATCHES)]
    write_set(tmp_path / "in", [images], ())
    (path,) = (tmp_path / "in").glob("*.tfrecord")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_USE_LEGACY_KERAS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LABEL, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-2:] == [str(8 * BATCHES), "4"]
