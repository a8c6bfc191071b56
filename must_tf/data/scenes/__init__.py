"""Generated scenes with exact labels for all six tasks: the embedded data of quickstart and tests.

A scene is a room with a few solids on its floor, cast ray by ray with NumPy, so that every label is
geometry and not an estimate. It depends on (domain, seed, index) alone, never on call order.

The focal length is `FOCAL` times the shorter side, in pixels: 58 degrees across the shorter side at
every size and in every domain, so that metric depth can be learned from one picture.
"""

from must_tf.data.scenes.domains import CLASSES, DOMAINS, OBJECTS, ROOMS, SURFACES, Domain
from must_tf.data.scenes.render import Scene, render
from must_tf.data.scenes.trace import FOCAL, Camera

__all__ = [
    "CLASSES",
    "DOMAINS",
    "FOCAL",
    "OBJECTS",
    "ROOMS",
    "SURFACES",
    "Camera",
    "Domain",
    "Scene",
    "render",
]
