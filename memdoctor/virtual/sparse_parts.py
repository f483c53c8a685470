"""The dense tensors that a sparse tensor consists of; only these have storages, on the card and on the host."""

from __future__ import annotations

from typing import Any

import torch


def parts(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Indices, in the order in which the layout names them, then values."""
    if tensor.layout is torch.sparse_coo:
        return [tensor._indices(), tensor._values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]


def assembled(like: torch.Tensor, copies: list[torch.Tensor]) -> torch.Tensor:
    """A sparse tensor of these `parts`, otherwise as another one."""
    if like.layout is torch.sparse_coo:
        return torch.sparse_coo_tensor(
            copies[0], copies[1], like.shape, is_coalesced=like.is_coalesced(), check_invariants=False)
    make: Any = torch.sparse_compressed_tensor
    out: torch.Tensor = make(*copies, like.shape, layout=like.layout, check_invariants=False)
    return out
