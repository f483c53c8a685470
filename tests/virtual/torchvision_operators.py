"""Lets torchvision's wheel, which is linked against CUDA, be imported beside a build of PyTorch without it.

Its operators are defined beforehand, and its C++ part is taken to be loaded: shapes and gradients are torchvision's own
Python. Of the kernels only `nms` is here, for the host.
"""

from __future__ import annotations

import functools
import importlib
from types import ModuleType
from typing import Any
from unittest import mock

import torch

_POOLING = "float spatial_scale, SymInt pooled_height, SymInt pooled_width"
_IMAGE = "SymInt batch_size, SymInt channels, SymInt height, SymInt width"
_DEFORMED = "Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias"
_STEPS = (
    "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, "
    "SymInt groups, SymInt offset_groups, bool use_mask")
_QUANTIZED = "float input_scale, int input_zero_point, float rois_scale, int rois_zero_point"
_BACKWARD = "Tensor grad, Tensor rois"
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align(Tensor input, Tensor rois, {_POOLING}, int sampling_ratio, bool aligned) -> Tensor",
    f"_roi_align_backward({_BACKWARD}, {_POOLING}, {_IMAGE}, int sampling_ratio, bool aligned) -> Tensor",
    f"roi_pool(Tensor input, Tensor rois, {_POOLING}) -> (Tensor, Tensor)",
    f"_roi_pool_backward({_BACKWARD}, Tensor argmax, {_POOLING}, {_IMAGE}) -> Tensor",
    f"ps_roi_align(Tensor input, Tensor rois, {_POOLING}, int sampling_ratio) -> (Tensor, Tensor)",
    f"_ps_roi_align_backward({_BACKWARD}, Tensor channel_mapping, {_POOLING}, int sampling_ratio, {_IMAGE}) -> Tensor",
    f"ps_roi_pool(Tensor input, Tensor rois, {_POOLING}) -> (Tensor, Tensor)",
    f"_ps_roi_pool_backward({_BACKWARD}, Tensor channel_mapping, {_POOLING}, {_IMAGE}) -> Tensor",
    f"deform_conv2d({_DEFORMED}, {_STEPS}) -> Tensor",
    f"_deform_conv2d_backward(Tensor grad, {_DEFORMED}, {_STEPS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    f"qroi_align(Tensor input, Tensor rois, {_QUANTIZED}, {_POOLING}, int sampling_ratio, bool aligned) -> Tensor",
    "box_iou_rotated(Tensor boxes1, Tensor boxes2) -> Tensor",
    "_cuda_version() -> int",
)


@functools.lru_cache(maxsize=None)
def define_operators() -> Any:
    """Once per process, and only where nobody has; the library must be kept."""
    if hasattr(torch.ops.torchvision, "nms"):
        return None
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    library.impl("_cuda_version", lambda: -1, "CompositeExplicitAutograd")
    library.impl("nms", _suppress, "CPU")
    return library


def _suppress(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedily from the best score on, as the paper on R-CNN has it."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    order, kept = scores.argsort(descending=True), []
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(best)
        low, high = torch.maximum(boxes[best, :2], boxes[order, :2]), torch.minimum(boxes[best, 2:], boxes[order, 2:])
        common = (high - low).clamp(min=0).prod(1)
        order = order[common / (areas[best] + areas[order] - common) <= iou_threshold]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.int64)


@functools.lru_cache(maxsize=None)
def import_torchvision() -> ModuleType:
    """Raises `ImportError` where it is not installed."""
    with mock.patch.object(torch.ops, "load_library", _loading(torch.ops.load_library)):
        return importlib.import_module("torchvision")


def _loading(load: Any) -> Any:
    def load_library(path: Any) -> None:
        try:
            load(path)
        except OSError:
            define_operators()
    return load_library
