"""Scratch of scaled dot product attention: FlashAttention-2 and the memory-efficient kernels of PyTorch."""

from __future__ import annotations

import math


def flash_forward_scratch(
    batch: int, heads: int, queries: int, keys: int, head_size: int, *, sm_count: int, has_dropout: bool
) -> list[int]:
    """Partial logsumexp and outputs where the keys are split because there is too little other parallel work.

    Source: `num_splits_heuristic` and `set_params_splitkv` of aten/src/ATen/native/transformers/cuda/flash_attn.
    """
    splits = 1 if has_dropout else _flash_splits(batch, heads, queries, keys, head_size, sm_count)
    if splits == 1:
        return []
    rows = batch * heads * queries
    return [rows * 4 * splits, rows * 4 * splits * _padded_head(head_size)]


def _flash_splits(batch: int, heads: int, queries: int, keys: int, head_size: int, sm_count: int) -> int:
    block_keys = 256 if head_size <= 64 else 128 if head_size <= 128 else 64
    key_blocks = _ceil(keys, block_keys)
    query_blocks = batch * heads * _ceil(queries, 64)
    slots = sm_count * 2
    if query_blocks >= 0.8 * slots:
        return 1
    most = min(128, slots, key_blocks)
    candidates = [
        split for split in range(1, most + 1)
        if split == 1 or _ceil(key_blocks, split) != _ceil(key_blocks, split - 1)
    ]
    efficiency = {split: _wave_efficiency(query_blocks * split / slots) for split in candidates}
    best = max(efficiency.values())
    return next(split for split in candidates if efficiency[split] >= 0.85 * best)


def _wave_efficiency(waves: float) -> float:
    return waves / math.ceil(waves)


def _padded_head(head_size: int) -> int:
    if head_size <= 128:
        return _up(head_size, 32)
    return _up(head_size, 64) if head_size <= 192 else 256


def flash_backward_scratch(batch: int, heads: int, queries: int, head_size: int) -> list[int]:
    """softmax_d and dq_accum, both float32 (`mha_bwd` of flash_api.cpp)."""
    rows = batch * heads * _up(queries, 128)
    return [rows * 4, rows * 4 * _padded_head(head_size)]


def cudnn_backward_scratch(batch: int, heads: int, queries: int, head_size: int) -> list[int]:
    """What cudnn-frontend asks for in one piece; the execution plan's own workspace comes on top and is unknown."""
    rows = batch * heads * queries
    return [rows * head_size * 4 + rows * 4]


def efficient_backward_workspace(batch: int, heads: int, queries: int, head_size: int, *, is_half: bool) -> int:
    """Accumulators of the gradients (`workspace_size` of kernel_backward.h), for 163 KB or more of shared memory."""
    if head_size <= 64:
        tile_rows, tile_columns = 64, 64
    else:
        tile_rows, tile_columns = 128, 128 if is_half else 64
    tiles = batch * heads * _ceil(queries, tile_rows) * _ceil(head_size, tile_columns)
    return tiles * (16 + 4 * tile_rows * tile_columns)


def efficient_logsumexp_length(queries: int) -> int:
    """The logsumexp is padded to 32 rows (aten/src/ATen/native/transformers/cuda/attention.cu)."""
    return _up(queries, 32)


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)


def _up(number: int, multiple: int) -> int:
    return _ceil(number, multiple) * multiple
