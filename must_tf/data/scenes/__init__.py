"""Generated scenes with exact labels for all six tasks: the embedded data of quickstart and tests.

A scene is a room with a few solids on its floor, ray-cast with NumPy, so that every label is computed exactly. It
depends only on (domain, seed, index), never on the order of calls.

The focal length in pixels is `FOCAL` times the shorter side: a field of view of 58 degrees across the shorter side, at
every size and in every domain. So metric depth can be learned from a single picture.
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
