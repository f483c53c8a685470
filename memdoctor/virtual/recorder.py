"""Sees every operator that reaches the card, and gives each storage that is born there its block.

The dispatch mode stands below autograd: it also sees backward, and what C++ calls. An operator runs as PyTorch's meta
kernel unless `answers.py` has a rule for it. Nothing that the collector tracks outlives an operator except one record
per live storage: more would make the collector run at other moments than without memdoctor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from memdoctor.virtual import answers
from memdoctor.virtual.ledger import Ledger
from memdoctor.virtual.tracebacks import without_our_frames
from memdoctor.virtual.values import KnownContents, ReadLog, worth_knowing

Operator = Callable[..., Any]


class _Traits(NamedTuple):
    """What an operator's schema says, read once per operator."""

    written: tuple[int | str, ...]
    """Positions or names of the arguments that it writes to."""
    computes: bool
    """Whether its result follows from its arguments alone: not random, not left uninitialised."""


class Recorder(TorchDispatchMode):
    """One per thread; all share the card's ledger."""

    def __init__(self, ledger: Ledger, known: KnownContents, reads: ReadLog) -> None:
        super().__init__()
        self.ledger = ledger
        self.known = known
        self.reads = reads

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False keeps torch._dynamo (its import, and several microseconds an operator) out of each call."""
        return False

    def __torch_dispatch__(
        self, func: Operator, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        try:
            answer = answers.ANSWERS.get(func)
            if answer is not None:
                return answer(self, func, args, kwargs or {})
            return self.run(func, args, kwargs or {})
        except torch.OutOfMemoryError as error:
            del args, kwargs
            raise without_our_frames(error)

    def run(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operator as PyTorch would and enter what it allocated; host operators pass unchanged."""
        births = self.ledger.birth_count
        out = func(*args, **kwargs)
        traits = _TRAITS.get(func) or _read_traits(func)
        if traits.written:
            self._enter_written(func, traits, args, kwargs)
        elif self.admit(out) and self.ledger.birth_count > births and traits.computes:
            self._follow_contents(func, args, kwargs, out)
        return out

    def admit(self, out: Any) -> bool:
        """Enter the storages of a result; True where any of it is on the card."""
        if isinstance(out, torch.Tensor):
            if not out.is_meta:
                return False
            storage = out.untyped_storage()
            if storage._cdata not in self.ledger.storages:
                self.ledger.admit(storage)
            return True
        if isinstance(out, (list, tuple)):
            return any([self.admit(item) for item in out])
        return False

    def _enter_written(
        self, func: Operator, traits: _Traits, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        targets = [target for where in traits.written for target in _tensors_at(where, args, kwargs) if target.is_meta]
        for target in targets:
            self._follow_size(target)
        if any(self.known.has(target) for target in targets):
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
            self.ledger.admit(storage)
        elif storage.nbytes() != record.nbytes:
            self.ledger.resize(record, storage.nbytes())

    def _follow_contents(self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        outputs = out if isinstance(out, (list, tuple)) else (out,)
        if not all(isinstance(item, torch.Tensor) and worth_knowing(item) for item in outputs):
            return
        try:
            host = func(*self.known.twins(args), **{name: self.known.twins(value) for name, value in kwargs.items()})
        except LookupError:
            return
        for item, contents in zip(outputs, host if isinstance(host, (list, tuple)) else (host,)):
            self.known.learn(item, contents)


_TRAITS: dict[Operator, _Traits] = {}


def _read_traits(func: Any) -> _Traits:
    written = tuple(
        argument.name if argument.kwarg_only else position
        for position, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )
    random = torch.Tag.nondeterministic_seeded in func.tags
    traits = _TRAITS[func] = _Traits(written, computes=not random and "empty" not in func._schema.name)
    return traits


def _tensors_at(where: int | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    value = kwargs.get(where) if isinstance(where, str) else args[where] if where < len(args) else None
    values = value if isinstance(value, (list, tuple)) else (value,)
    return [item for item in values if isinstance(item, torch.Tensor)]
