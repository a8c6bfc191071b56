"""The fixtures that tests of several packages share."""

from tests.support.datasets.coco_dataset import dataset as dataset
from tests.support.merging import patterns as patterns
from tests.support.mistakes import world as world
from tests.support.tiny import tiny as tiny
from tests.support.tiny import tiny_records as tiny_records
