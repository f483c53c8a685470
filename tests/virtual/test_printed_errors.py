"""What a program prints of its own errors on the virtual card is what it would print on a real one."""

from __future__ import annotations

import io
import logging
import sys
import threading
import traceback
from collections.abc import Callable

import pytest
import torch

from memdoctor.virtual.gpu import virtual_gpu


def print_exc() -> str:
    return traceback.format_exc()


def format_tb() -> str:
    kind, error, trace = sys.exc_info()
    return "".join([*traceback.format_tb(trace), *traceback.format_exception_only(kind, error)])


def log_it() -> str:
    stream = io.StringIO()
    logger = logging.Logger("program")
    logger.addHandler(logging.StreamHandler(stream))
    logger.exception("failed")
    return stream.getvalue()


def too_large() -> None:
    torch.nn.functional.relu(torch.zeros(2**28, device="cuda")) + torch.ones(2**30, device="cuda")


def wrong_shapes() -> None:
    torch.zeros(2, 3, device="cuda") @ torch.zeros(2, 3, device="cuda")


def one_after_another() -> None:
    try:
        too_large()
    except torch.OutOfMemoryError as error:
        raise ValueError("gave up") from error


@pytest.mark.parametrize("shown", [print_exc, format_tb, log_it])
@pytest.mark.parametrize("fails", [too_large, wrong_shapes, one_after_another])
def test_no_frame_of_the_card_is_printed(fails: Callable[[], None], shown: Callable[[], str]) -> None:
    with virtual_gpu("4GiB"):
        try:
            fails()
        except (RuntimeError, ValueError):
            text = shown()
    assert "memdoctor/virtual" not in text.replace("tests/virtual", "")
    assert f"in {fails.__name__}" in text and text.splitlines()[-1].startswith(("torch.OutOf", "Runtime", "ValueError"))


def test_tracebacks_are_printed_whole_again_afterwards() -> None:
    before = traceback.walk_tb, sys.unraisablehook, threading.excepthook
    with virtual_gpu("4GiB"):
        assert traceback.walk_tb is not before[0]
    assert (traceback.walk_tb, sys.unraisablehook, threading.excepthook) == before


def test_a_traceback_of_nothing_but_our_frames_is_not_empty() -> None:
    """Pytest reports each frame on its own, and stops dead at one that has no text."""
    with virtual_gpu("a100-80gb"):
        try:
            torch.randn(8, 8, device="cuda") @ torch.randn(3, 3, device="cuda")
        except RuntimeError as error:
            trace = error.__traceback__
        while trace.tb_next is not None:
            trace = trace.tb_next
        assert len(traceback.extract_tb(trace, limit=1)) == 1
