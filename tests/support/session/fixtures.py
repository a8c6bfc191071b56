"""What a process that runs tests needs: the fixtures that tests of several packages share."""

import gc

from tests.support.datasets.coco_dataset import dataset as dataset
from tests.support.merging import patterns as patterns
from tests.support.mistakes import world as world
from tests.support.session import graphs
from tests.support.session.graphs import optimised_graphs as optimised_graphs
from tests.support.tiny import tiny as tiny
from tests.support.tiny import tiny_export as tiny_export
from tests.support.tiny import tiny_records as tiny_records


def pytest_configure() -> None:
    """Leaves graphs as they are traced, without origins."""
    graphs.optimise(False)
    graphs.forget_origins()


def pytest_collection_finish() -> None:
    """Keeps the garbage collector away from all modules, which live as long as the process, and calls it less often."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
