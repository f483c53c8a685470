"""Sees every operator that reaches the card, and gives each storage that is born there its block.

The dispatch mode stands below autograd: it also sees backward, and what C++ calls. An operator runs as PyTorch's meta
kernel unless there is a rule for it (`answers.py`, `operators/`). Nothing that the collector tracks outlives an
operator except one record per live storage: more would make the collector run at other moments than without memdoctor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch.autograd.graph import increment_version
from torch.utils._python_dispatch import TorchDispatchMode

from memdoctor.foundation.tracebacks import without_our_frames
from memdoctor.virtual import placing
from memdoctor.virtual.cards import Card
from memdoctor.virtual.device import META
from memdoctor.virtual.ledger import Ledger
from memdoctor.virtual.ownership import Formula
from memdoctor.virtual.signatures import Layout, Memory, Uncachable, dense_strides, is_fresh, signature
from memdoctor.virtual.sparse_parts import parts
from memdoctor.virtual.traits import Traits, is_checkable, is_composite, is_fused_step, traits_of
from memdoctor.virtual.values import KnownContents, ReadLog

Operator = Any
"""A `torch._ops.OpOverload`."""


Rule = Callable[["Recorder", Any, "tuple[Any, ...]", "dict[str, Any]"], Any]
"""Runs one operator on the card: what it answers, and what it allocates."""


_NO_DISPATCH = torch._C._disabled_torch_dispatch_impl


class Cards(Protocol):
    """Several cards (`several.py`)."""

    def run(self, recorder: Recorder, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Let the recorder run the operator with the ledger of the card that it runs on."""


class Recorder(TorchDispatchMode):
    """One per thread; all share the cards' ledgers."""

    def __init__(
        self, card: Card, ledger: Ledger, known: KnownContents, reads: ReadLog,
        answers: Mapping[Any, Rule], operators: Mapping[Any, Rule], cards: Cards | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self.card = card
        self.ledger = ledger
        """Of the card that the operator at hand runs on."""
        self.cards = cards
        """None where there is only one."""
        self.known = known
        self.reads = reads
        self.answers = answers
        self.operators = operators
        self.formula = Formula()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False keeps torch._dynamo (its import, and several microseconds an operator) out of each call."""
        return False

    def __torch_dispatch__(
        self, func: Operator, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if types and any(kind.__torch_dispatch__ is not _NO_DISPATCH for kind in types):
            return NotImplemented  # made of other tensors, as jagged ones are: these come back here one by one
        try:
            with torch._C.DisableTorchFunction():
                if self.cards is not None:
                    return self.cards.run(self, func, args, kwargs or {})
                return self.dispatch(func, args, kwargs or {})
        except torch.OutOfMemoryError as error:
            del args, kwargs
            raise without_our_frames(error)

    def dispatch(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Torch functions are disabled here: in backward our own function mode would answer `tensor.is_meta`."""
        if self.ledger.observer is not None:
            self.ledger.operator = func
        if self.ledger.knows_foreign:
            if placing.is_foreign(self.ledger, args, kwargs):
                return placing.run_foreign(self.ledger, func, args, kwargs)
        answer = self.answers.get(func)
        if answer is not None:
            return answer(self, func, args, kwargs)
        rule = self.operators.get(func)
        if rule is not None and placing.concerns_card(self.ledger, func, args, kwargs):
            return rule(self, func, args, kwargs)
        if is_composite(func):
            with self:
                return func.decompose(*args, **kwargs)
        return self.run(func, args, kwargs)

    def run(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operator as PyTorch would and enter what it allocated; host operators pass unchanged."""
        if not placing.concerns_card(self.ledger, func, args, kwargs):
            return func(*args, **kwargs)
        traits = traits_of(func)
        if traits.written:
            return self._write(func, traits, args, kwargs)
        births = self.ledger.birth_count
        out = self._result(func, args, kwargs) if traits.makes_new else placing.run(self.ledger, func, args, kwargs)
        self.admit(out)
        if traits.computes and self.ledger.birth_count > births:
            self._follow_contents(func, args, kwargs, out)
        return out

    def run_unrecorded(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the meta kernel says of shapes and types; its result takes nothing on the card."""
        placing.concerns_card(self.ledger, func, args, kwargs)
        return self._result(func, args, kwargs)

    def new(
        self, shape: Sequence[int], dtype: torch.dtype, strides: Sequence[int] | None = None
    ) -> torch.Tensor:
        """An uninitialised tensor of the card, contiguous where no strides are given."""
        if strides is None:
            out = torch.empty(shape, dtype=dtype, device=META)
        else:
            out = torch.empty_strided(shape, strides, dtype=dtype, device=META)
        self.admit(out)
        return out

    def new_like(self, tensor: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
        """As `torch.empty_like`: the same strides where they are dense, contiguous where not."""
        return self.new(tensor.shape, dtype or tensor.dtype, dense_strides(tensor.shape, tensor.stride()))

    def contiguous(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor, or a contiguous copy of it on the card."""
        return tensor if tensor.is_contiguous() else self.new(tensor.shape, tensor.dtype)

    def resized(self, tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """As `resize_`: a storage that is too small makes room for a larger one, one that is too large stays."""
        tensor.resize_(shape)
        self._follow_size(tensor)
        return tensor

    def admit(self, out: Any) -> None:
        """Enter the storages of a result that are on the card and not in the ledger yet."""
        if isinstance(out, torch.Tensor):
            if out.layout is not torch.strided:
                self.admit(parts(out))
            elif out.is_meta:
                storage = out.untyped_storage()
                if storage._cdata not in self.ledger.storages:
                    record = self.ledger.admit(storage, out)
                    if torch._C._current_graph_task_id() != -1:
                        self.formula.note(record.birth)
        elif isinstance(out, (list, tuple)):
            for item in out:
                self.admit(item)

    def birth_of(self, tensor: torch.Tensor) -> int:
        """The number of its storage among all."""
        return self.ledger.storages[tensor.untyped_storage()._cdata].birth

    def _result(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The operator's result, from memory where a call with the same shapes has been seen."""
        try:
            key = signature(func, args, kwargs, floats_matter=traits_of(func).floats_matter)
        except Uncachable:
            return placing.run(self.ledger, func, args, kwargs)
        remembered = _RESULTS.get(key)
        if remembered is not None:
            if isinstance(remembered, Layout):
                return remembered.make()
            return type(remembered)([layout.make() for layout in remembered])
        answer = self.answers.get(func._schema.name)
        if answer is not None:
            return answer(self, func, args, kwargs)
        out = placing.run(self.ledger, func, args, kwargs)
        if self._is_fresh(out):
            _RESULTS.keep(key, Layout(out))
        elif type(out) in (tuple, list) and all(self._is_fresh(item) for item in out):
            _RESULTS.keep(key, type(out)([Layout(item) for item in out]))
        return out

    def _is_fresh(self, out: Any) -> bool:
        """Schemas do not tell: `_unsafe_view` returns its argument's storage as if it were new."""
        return is_fresh(out) and out.untyped_storage()._cdata not in self.ledger.storages

    def _write(self, func: Operator, traits: Traits, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if traits.skippable:
            self.check(func, args, kwargs)
            out = args[0] if isinstance(args[0], torch.Tensor) else None
        else:
            out = placing.run(self.ledger, func, args, kwargs)
        self._enter_written(func, traits, args, kwargs)
        return out

    def check(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Let the meta kernel complain about shapes and types, once per signature."""
        try:
            key = signature(func, args, kwargs, floats_matter=False)
        except Uncachable:
            placing.run(self.ledger, func, args, kwargs)
            return
        if key not in _CHECKED:
            if is_checkable(func) or not (func in self.operators or is_fused_step(func)):
                placing.run(self.ledger, func, args, kwargs)
            _CHECKED.keep(key, True)

    def _enter_written(self, func: Operator, traits: Traits, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        targets = written_targets(traits, args, kwargs)
        if traits.raises_versions:
            for target in targets:
                increment_version(target)
        if not traits.skippable:
            for target in targets:
                self._follow_size(target)
        if any(self.known.has(target) for target in targets):
            self._follow_writes(func, traits, args, kwargs, targets)

    def _follow_writes(
        self, func: Operator, traits: Traits, args: tuple[Any, ...], kwargs: dict[str, Any],
        targets: list[torch.Tensor],
    ) -> None:
        try:
            if not traits.computes:
                raise LookupError
            func(*self.known.twins(args), **{name: self.known.twins(value) for name, value in kwargs.items()})
        except LookupError:
            for target in targets:
                self.known.forget(target)

    def _follow_size(self, target: torch.Tensor) -> None:
        """After `resize_`, `set_`, `out=`: the tensor's storage may have grown, or be another one."""
        storage = target.untyped_storage()
        record = self.ledger.storages.get(storage._cdata)
        if record is None:
            self.ledger.admit(storage, target)
        elif storage.nbytes() != record.nbytes:
            self.ledger.resize(record, storage.nbytes())

    def _follow_contents(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        outputs = out if isinstance(out, (list, tuple)) else (out,)
        if not all(isinstance(item, torch.Tensor) and self.known.follows(item) for item in outputs):
            return
        try:
            host = func(*self.known.twins(args), **{name: self.known.twins(value) for name, value in kwargs.items()})
        except LookupError:
            return
        for item, contents in zip(outputs, host if isinstance(host, (list, tuple)) else (host,)):
            self.known.learn(item, contents)


_RESULTS = Memory()
_CHECKED = Memory()


def written_targets(traits: Traits, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """The card's tensors that an operator writes to."""
    return [target for where in traits.written for target in _tensors_at(where, args, kwargs) if target.is_meta]


def _tensors_at(where: int | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    value = kwargs.get(where) if isinstance(where, str) else args[where] if where < len(args) else None
    values = value if isinstance(value, (list, tuple)) else (value,)
    return [item for item in values if isinstance(item, torch.Tensor)]
