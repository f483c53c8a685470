"""What an operator's schema says of it; read once per operator."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch


class Traits(NamedTuple):
    """What decides how an operator is run and recorded."""

    written: tuple[int | str, ...]
    """Positions or names of the arguments that it writes to."""
    computes: bool
    """Whether its result follows from its arguments alone: not random, not left uninitialised."""
    skippable: bool
    """In place without changing shapes: on the card nothing is left to do once the shapes have been checked."""
    makes_new: bool
    """Whether results may own new storage; false for views."""
    floats_matter: bool
    """Whether the shapes of its results may follow from a float, as those of `arange` do."""
    reshapes: bool
    """In place, and changes the shape or the storage: contents are as they were."""
    raises_versions: bool
    """Whether its CUDA kernel counts what autograd may have saved as changed, as all on one tensor are before a kernel
    is called. Of those on lists, asked of PyTorch 2.12.1's CUDA build, all do but these and the fused optimizers."""


_RESHAPES = ("resize_", "set_", "t_", "transpose_", "squeeze_", "unsqueeze_", "as_strided_", "detach_", "swap")
_LEAVE_VERSIONS = ("_foreach_lerp_", "_foreach_zero_")


@functools.lru_cache(maxsize=None)
def traits_of(func: Any) -> Traits:
    """Read the schema of a `torch._ops.OpOverload`."""
    schema = func._schema
    name = schema.name.removeprefix("aten::")
    written = tuple(
        argument.name if argument.kwarg_only else position
        for position, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    reshapes = bool(written) and name.startswith(_RESHAPES)
    return Traits(
        written=written,
        computes=torch.Tag.nondeterministic_seeded not in func.tags and "empty" not in name,
        skippable=bool(written) and written[0] == 0 and name.endswith("_") and not reshapes,
        makes_new=all(result.alias_info is None for result in schema.returns),
        floats_matter=torch.Tag.pointwise not in func.tags and not name.startswith("_foreach_"),
        reshapes=reshapes,
        raises_versions=bool(written) and name.startswith("_foreach_") and name not in _LEAVE_VERSIONS,
    )


@functools.lru_cache(maxsize=None)
def is_composite(func: Any) -> bool:
    """In inference mode, composite operators arrive whole, and would hide what they consist of."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return has_kernel(func.name(), "CompositeImplicitAutograd") and not has_kernel(func.name(), "Meta")


@functools.lru_cache(maxsize=None)
def is_checkable(func: Any) -> bool:
    """Whether PyTorch can say what an operator refuses; of CUDA's own, and of some fused optimizers, it cannot."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    keys = ("Meta", "CompositeExplicitAutograd", "CompositeImplicitAutograd")
    return any(has_kernel(func.name(), key) for key in keys)


def is_fused_step(func: Any) -> bool:
    """A fused optimizer works in place and allocates nothing."""
    return bool(func.name().startswith("aten::_fused_"))
