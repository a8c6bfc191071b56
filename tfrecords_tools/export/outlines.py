"""Outlines of masks as one polygon each, as formats want them that know neither holes nor several parts.

The outline runs along the edges of the pixels, so that its corners are whole numbers and filling it gives the mask
again, bit for bit. Parts and holes are joined by bridges that are passed in both directions, so they have no area.
"""

from __future__ import annotations

import numpy as np

Corner = tuple[int, int]  # x, y
# The direction to the right of each direction; at a corner where two pixels touch, this turn keeps them apart.
RIGHT = {(1, 0): (0, 1), (0, 1): (-1, 0), (-1, 0): (0, -1), (0, -1): (1, 0)}


def outline(mask: np.ndarray) -> list[Corner]:
    """Returns the corners of a mask, bool or uint8 [h, w], as one polygon; empty without a pixel."""
    return _joined(loops(mask))


def loops(mask: np.ndarray) -> list[list[Corner]]:
    """Returns the closed outlines of all parts and holes, without corners on straight lines.

    The mask is on the right of each edge: parts run clockwise, holes the other way (y points down).
    """
    steps = _edges(mask)
    found = []
    while steps:
        start = at = min(steps)
        direction = next(iter(steps[at]))
        corners: list[Corner] = []
        while True:
            ways = steps[at]
            turn = direction if direction in ways and len(ways) == 1 else _turn(direction, ways)
            if turn != direction or not corners:
                corners.append(at)
            direction = turn
            ways.remove(direction)
            if not ways:
                del steps[at]
            at = (at[0] + direction[0], at[1] + direction[1])
            if at == start and at not in steps:
                break
            if at == start and _closes(direction, steps[at]):
                break
        found.append(corners)
    return found


def _edges(mask: np.ndarray) -> dict[Corner, list[Corner]]:
    """Returns {corner: directions of the edges that leave it}; each edge is one pixel long."""
    padded = np.pad(np.asarray(mask) > 0, 1).astype(np.int8)
    steps: dict[Corner, list[Corner]] = {}
    across = np.diff(padded, axis=0)[:, 1:-1]  # [h + 1, w] 1: the mask begins below this edge
    down = np.diff(padded, axis=1)[1:-1]  # [h, w + 1] 1: the mask begins to the right of this edge
    for y, x in np.argwhere(across).tolist():
        begin, step = ((x, y), (1, 0)) if across[y, x] > 0 else ((x + 1, y), (-1, 0))
        steps.setdefault(begin, []).append(step)
    for y, x in np.argwhere(down).tolist():
        begin, step = ((x, y + 1), (0, -1)) if down[y, x] > 0 else ((x, y), (0, 1))
        steps.setdefault(begin, []).append(step)
    return steps


def _turn(direction: Corner, ways: list[Corner]) -> Corner:
    """Returns the way to go on: to the right if two are open, so that pixels that only touch are two parts."""
    return RIGHT[direction] if RIGHT[direction] in ways else ways[0]


def _closes(direction: Corner, ways: list[Corner]) -> bool:
    """Returns True if a loop that is back at its start ends there: the other edge belongs to another loop."""
    return RIGHT[direction] not in ways


def _joined(found: list[list[Corner]]) -> list[Corner]:
    """Joins loops: each further loop is walked to, around and back from the first corner of the first loop."""
    if not found:
        return []
    polygon = [*found[0]]
    for loop in found[1:]:
        polygon += [found[0][0], *loop, loop[0]]
    return polygon if len(found) == 1 else [*polygon, found[0][0]]
