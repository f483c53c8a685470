"""What `torch.nn.DataParallel` asks of C++ that a build without CUDA lacks: copies of tensors on several cards.

Built after torch/csrc/cuda/comm.cpp; NCCL's own memory, which PyTorch does not count, is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch

from memdoctor.virtual.patches import Patches

Tensors = Sequence[torch.Tensor]


def patch_data_parallel(patches: Patches) -> None:
    for name, function in (
        ("_broadcast", broadcast), ("_broadcast_coalesced", broadcast_coalesced), ("_broadcast_out", broadcast_out),
        ("_scatter", scatter), ("_scatter_out", scatter_out), ("_gather", gather), ("_gather_out", gather_out),
    ):
        patches.set(torch._C, name, function)
    patches.set(torch.cuda.nccl, "is_available", lambda tensors: len({each.get_device() for each in tensors}) > 1)
    patches.set(torch.cuda.nccl, "reduce", lambda *tensors, **options: None)


def _card(number: int) -> torch.device:
    return torch.device("cuda", number)


def broadcast(tensor: torch.Tensor, devices: Sequence[int]) -> list[torch.Tensor]:
    """The first device is that of the tensor, which is its own copy there."""
    return [tensor, *(torch.empty_like(tensor, device=_card(device)) for device in devices[1:])]


def broadcast_out(tensor: torch.Tensor, outputs: Tensors) -> list[torch.Tensor]:
    return [output.copy_(tensor) for output in outputs]


def broadcast_coalesced(tensors: Tensors, devices: Sequence[int], buffer_bytes: int) -> list[list[torch.Tensor]]:
    """In buffers of several tensors, of which the copies are views."""
    copies: list[list[torch.Tensor]] = [list(tensors), *([] for _ in devices[1:])]
    order: list[int] = []
    for chunk in _chunks(tensors, buffer_bytes):
        group = [tensors[position] for position in chunk]
        order += chunk
        for made, flat in zip(copies[1:], broadcast(_flat(group), devices)[1:]):
            made += [part.detach() for part in torch._C._nn.unflatten_dense_tensors(flat, group)]
    return [copies[0], *([made[order.index(at)] for at in range(len(order))] for made in copies[1:])]


def _chunks(tensors: Tensors, buffer_bytes: int) -> list[list[int]]:
    """Positions of tensors of one type that fill a buffer, in the order in which the buffers are full."""
    full: list[list[int]] = []
    open_: dict[torch.dtype, tuple[list[int], int]] = {}
    for position, tensor in enumerate(tensors):
        positions, nbytes = open_.get(tensor.dtype, ([], 0))
        positions, nbytes = [*positions, position], nbytes + tensor.nbytes
        open_[tensor.dtype] = positions, nbytes
        if nbytes >= buffer_bytes:
            full.append(open_.pop(tensor.dtype)[0])
    return full + [positions for positions, _ in open_.values()]


def _flat(group: Tensors) -> torch.Tensor:
    flat: torch.Tensor = torch._C._nn.flatten_dense_tensors(list(group))
    return flat


def _split(tensor: torch.Tensor, sizes: Sequence[int], dim: int) -> Sequence[torch.Tensor]:
    pieces: Sequence[torch.Tensor] = torch.split_with_sizes(tensor, list(sizes), dim)
    return pieces


def scatter(
    tensor: torch.Tensor, devices: Sequence[int], chunk_sizes: Sequence[int] | None = None, dim: int = 0,
    streams: Any = None,
) -> tuple[torch.Tensor, ...]:
    """Pieces of a tensor, each copied to its card unless it is there."""
    pieces = _split(tensor, chunk_sizes, dim) if chunk_sizes is not None else tensor.chunk(len(devices), dim)
    copies = []
    for piece, device, stream in zip(pieces, devices, streams or [None] * len(devices)):
        switch: Any = torch.cuda.stream
        with switch(stream) if stream is not None else contextlib.nullcontext():
            copies.append(piece.to(_card(device), non_blocking=True))
    return tuple(copies)


def scatter_out(tensor: torch.Tensor, outputs: Tensors, dim: int = 0, streams: Any = None) -> tuple[torch.Tensor, ...]:
    pieces = _split(tensor, [output.shape[dim] for output in outputs], dim)
    return tuple(output.copy_(piece) for output, piece in zip(outputs, pieces))


def gather(tensors: Tensors, dim: int, destination: int | None = None) -> torch.Tensor:
    """One tensor of all pieces; -1 stands for the host, None for the current card."""
    shape = list(tensors[0].shape)
    shape[dim] = sum(tensor.shape[dim] for tensor in tensors)
    number = torch.cuda.current_device() if destination is None else destination
    device = torch.device("cpu") if number == -1 else _card(number)
    return gather_out(tensors, torch.empty(shape, dtype=tensors[0].dtype, device=device), dim)


def gather_out(tensors: Tensors, output: torch.Tensor, dim: int) -> torch.Tensor:
    for piece, tensor in zip(_split(output, [tensor.shape[dim] for tensor in tensors], dim), tensors):
        piece.copy_(tensor)
    return output
