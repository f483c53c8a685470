"""Scratch of normalisation layers."""

from __future__ import annotations

from memdoctor.virtual.kernels.reductions import reduction_scratch


def layer_norm_backward_scratch(
    rows: int, width: int, *, sm_count: int, threads_per_sm: int
) -> tuple[int, list[int]]:
    """Rows of the partial weight and bias gradients, and the scratch of the sum over them; (0, []) where not needed.

    Many rows and few columns are reduced in two steps (`LayerNormBackwardKernelImpl`, layer_norm_kernel.cu).
    """
    if rows <= 64 * 1024 or width // 32 >= sm_count // 2:
        return 0, []
    partial_rows = min(32768 // -(-width // 32), -(-rows // 32))
    scratch = reduction_scratch(
        (partial_rows, width), (width, 1), {0}, accumulator_bytes=4, sm_count=sm_count, threads_per_sm=threads_per_sm
    )
    return partial_rows, scratch


def channels_last_scratch(channels: int, values: int, values_per_channel: int) -> list[int]:
    """Staging buffer and semaphores of batch norm on channels-last tensors, where several blocks share a channel.

    `values` are those of one channel; `values_per_channel` is 4 forward and 2 backward. Source:
    `flexible_launch_configs` of aten/src/ATen/native/cuda/Normalization.cuh.
    """
    width = min(_power_of_two_below(channels), 32)
    height = min(_power_of_two_below(-(-values // _VALUES_PER_THREAD)), _THREADS // width)
    if width * height != _THREADS:
        width = min(_power_of_two_below(channels), _THREADS // height)
    blocks = min(-(-values // (height * _VALUES_PER_THREAD)), 128)
    if blocks < 8:
        return []
    return [4 * values_per_channel * channels * blocks, 4 * -(-channels // width)]


_THREADS = 512
_VALUES_PER_THREAD = 16


def _power_of_two_below(number: int) -> int:
    return 1 << (max(1, number).bit_length() - 1)
