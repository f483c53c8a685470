"""The tensors in the user's variables at the moment of an error: which batch it was, and what a layer computed with."""

from __future__ import annotations

from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import cast

import torch

from memdoctor.foundation.breakdown import LocalTensor
from memdoctor.sensing.frames import local_variables
from memdoctor.sensing.owners import undisturbed
from memdoctor.sensing.user_code import is_user_file

_MOST = 6
_MOST_OF_A_FUNCTION = 3
"""A script's own variables are many; what a function was given comes first among its own."""


def running_tensors(frame: FrameType | None) -> tuple[LocalTensor, ...]:
    """Of this frame and those that called it, innermost first."""
    return _few(_callers(frame))


def tensors_of(error: BaseException) -> tuple[LocalTensor, ...]:
    """Of the functions that the error came through, innermost first."""
    return _few(reversed(list(_frames(error.__traceback__))))


def _few(frames: Iterator[FrameType]) -> tuple[LocalTensor, ...]:
    found: dict[int, LocalTensor] = {}
    with undisturbed():
        for frame in frames:
            if is_user_file(frame.f_code.co_filename) and len(found) < _MOST:
                for key, tensor in list(_tensors(frame))[:_MOST_OF_A_FUNCTION]:
                    found.setdefault(key, tensor)
    return tuple(found.values())[:_MOST]


def _tensors(frame: FrameType) -> Iterator[tuple[int, LocalTensor]]:
    """By their storages: a caller's `images` is its callee's `x`. Parameters are the model's, and tell nothing."""
    for name, value in local_variables(frame):
        if issubclass(type(value), torch.Tensor) and not isinstance(value, torch.nn.Parameter):
            tensor = cast(torch.Tensor, value)
            try:
                key, shape = tensor.untyped_storage()._cdata, tuple(tensor.shape)
            except Exception:  # noqa: S112  # a tensor class that refuses is the user's affair
                continue
            if shape:
                yield key, LocalTensor(name, frame.f_code.co_name, shape, str(tensor.dtype).removeprefix("torch."))


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next
