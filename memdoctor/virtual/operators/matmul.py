"""Matrix products: output, copies of operands that cuBLAS cannot read, its workspace at a thread's first use."""

from __future__ import annotations

from typing import Any

import torch

from memdoctor.virtual.kernels.matmul import cublas_workspace_bytes, needs_copy
from memdoctor.virtual.recorder import Recorder, Rule

aten = torch.ops.aten


def _sparse_product(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`(self, sparse, dense, ...)`; what cuSPARSE asks for is left out."""
    sparse, dense = args[1:3]
    return recorder.new((sparse.shape[0], dense.shape[1]), dense.dtype)


def _product(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    matrices = [arg for arg in args if isinstance(arg, torch.Tensor)][-2:]
    if matrices[0].layout is not torch.strided:
        return _sparse_product(recorder, func, (None, *matrices), kwargs)
    out = recorder.run(func, args, kwargs)
    copies = [matrix.nbytes for matrix in (out, *matrices) if needs_copy(matrix.shape, matrix.stride())]
    with recorder.ledger.scratch(copies):
        hold_workspace(recorder)
    return out


def _vector_product(recorder: Recorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    out = recorder.run(func, args, kwargs)
    hold_workspace(recorder)
    return out


def hold_workspace(recorder: Recorder) -> None:
    """Per handle and stream; backward runs in autograd's own thread on a card."""
    key = ("cublas", recorder.ledger.handles.current(), recorder.ledger.stream)
    recorder.ledger.hold(key, cublas_workspace_bytes(recorder.card.compute_capability))


RULES: dict[Any, Rule] = {
    aten._sparse_addmm.default: _sparse_product,
    **{operator.default: _product for operator in (
        aten.mm, aten.addmm, aten.addmm_, aten._addmm_activation, aten.bmm, aten.baddbmm, aten.baddbmm_)},
    **{operator.out: _product for operator in (aten.mm, aten.addmm, aten.bmm, aten.baddbmm)},
    **{operator.default: _vector_product for operator in (aten.mv, aten.addmv, aten.addmv_, aten.dot, aten.vdot)},
    **{operator.out: _vector_product for operator in (aten.mv, aten.addmv, aten.dot, aten.vdot)},
}
