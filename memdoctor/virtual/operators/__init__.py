"""What single CUDA operators allocate, in CUDA's order, around the pure functions of `kernels/`.

A rule gets the operator's arguments below autograd and returns what the operator returns. Outputs are made here, not by
PyTorch's meta kernels, where those follow the host's choice of layout or order.
"""

from __future__ import annotations

from typing import Any

from memdoctor.virtual.operators import (
    attention, batch_norm, by_parts, convolution, ctc, distances, drawing, embedding, encoder_layer, filling, foreach,
    grouped, indexing, losses, matmul, matrix_exp, normalization, pooling, recurrent, reductions, softmax, sorting,
    sparse, unfolding, unmodelled,
)
from memdoctor.virtual.recorder import Rule

OPERATORS: dict[Any, Rule] = {
    **attention.RULES,
    **batch_norm.RULES,
    **by_parts.RULES,
    **convolution.RULES,
    **ctc.RULES,
    **distances.RULES,
    **drawing.RULES,
    **embedding.RULES,
    **encoder_layer.RULES,
    **filling.RULES,
    **foreach.RULES,
    **grouped.RULES,
    **indexing.RULES,
    **losses.RULES,
    **matmul.RULES,
    **matrix_exp.RULES,
    **normalization.RULES,
    **pooling.RULES,
    **recurrent.RULES,
    **reductions.RULES,
    **softmax.RULES,
    **sorting.RULES,
    **sparse.RULES,
    **unfolding.RULES,
    **unmodelled.RULES,
}
