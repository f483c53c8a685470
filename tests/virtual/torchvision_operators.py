"""Lets torchvision's wheel, which is linked against CUDA, be imported beside a build of PyTorch without it."""

from __future__ import annotations

import functools

import pytest
import torch


@functools.lru_cache(maxsize=None)
def import_torchvision():
    """Once per process; the schemas that the import asks for are defined beforehand, where its C++ part cannot load."""
    try:
        torch.ops.torchvision.nms
    except AttributeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library, pytest.importorskip("torchvision", reason="needs torchvision")
    return None, pytest.importorskip("torchvision", reason="needs torchvision")
