"""How many boxes a detector of torchvision chooses, where nobody knows which boxes hold something.

Its sampler takes so many boxes of an image and at most so large a share of positive ones; what follows, and above all
the heads for masks and keypoints, has that many rows. Without this every proposal would count as a positive one, which
no training step ever reaches. Found by the frames that ask, because torchvision may be imported at any time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

_FOLDER = os.path.join("torchvision", "models", "detection", "")


def _of_an_image(sampler: Any, labels: Any, count: int) -> int:
    return int(sampler.batch_size_per_image)


def _of_all_images(sampler: Any, labels: Any, count: int) -> int:
    return int(sampler.batch_size_per_image) * len(labels)


def _positive(sampler: Any, labels: Any, count: int) -> int:
    """Among the boxes sampled, of one image or of several."""
    images = int(-(-count // sampler.batch_size_per_image))
    return images * int(sampler.batch_size_per_image * sampler.positive_fraction)


_ASKING: dict[tuple[str, str], Callable[[Any, Any, int], int]] = {
    ("roi_heads.py", "subsample"): _of_an_image,
    ("roi_heads.py", "forward"): _positive,
    ("roi_heads.py", "fastrcnn_loss"): _positive,
    ("rpn.py", "compute_loss"): _of_all_images,
}
"""By file and function: rows chosen, from the sampler, the labels by image, and the number of rows to choose from."""


def rows_chosen(count: int) -> int:
    """Of `count` rows whose mask is unknown: all, but for what torchvision's samplers limit."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        folder, name = os.path.split(frame.f_code.co_filename)
        if f"{folder}{os.sep}".endswith(_FOLDER):
            chosen, sampler = _ASKING.get((name, frame.f_code.co_name)), _sampler(frame)
            return count if chosen is None or sampler is None else min(
                count, chosen(sampler, frame.f_locals.get("labels"), count))
        frame = frame.f_back
    return count


def _sampler(frame: FrameType | None) -> Any:
    """Of the module that runs; `fastrcnn_loss` is a function that such a module calls."""
    for _ in range(2):
        if frame is not None and hasattr(frame.f_locals.get("self"), "fg_bg_sampler"):
            return frame.f_locals["self"].fg_bg_sampler
        frame = frame.f_back if frame is not None else None
    return None
