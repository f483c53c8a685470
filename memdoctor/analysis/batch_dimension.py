"""The batch size that a step really had, from the shapes that its modules were called with.

A data set may have fewer samples than the batch size that was asked for, or the argument may set something else: the
step then fits at any size. What grew with the size asked for is the batch; how much it grew is how much is true.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Shapes = Sequence[tuple[int, ...]]


def real_size(steps: Sequence[Shapes], known_size: int, known_steps: Sequence[Shapes]) -> int | None:
    """What the batch size of `steps` was, if that of `known_steps` was `known_size`; None without anything to compare.

    Of several steps the one with the most elements counts, because the last batch of an epoch may be cut off. Where
    the size does not show in any dimension, nothing grew, and the answer is `known_size`.
    """
    shapes, known_shapes = _fullest(steps), _fullest(known_steps)
    ratios = [
        extent / known_extent
        for shape, known_shape in zip(shapes, known_shapes)
        for extent, known_extent in zip(shape, known_shape)
        if known_extent
    ]
    return round(known_size * max(ratios)) if ratios else None


def _fullest(steps: Sequence[Shapes]) -> Shapes:
    return max(steps, key=lambda shapes: sum(math.prod(shape) for shape in shapes), default=())
