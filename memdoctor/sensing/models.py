"""The models and optimizers of a program, as its hooks meet them, and which storages are theirs.

Everything is held weakly and by identity: a module of the user's may be unhashable, and may die at any time.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from memdoctor.foundation.breakdown import GRADIENTS, OPTIMIZER_STATE, PARAMETERS
from memdoctor.sensing.owners import undisturbed

_BLOCK_BYTES = 512
"""`kMinBlockSize` of c10/core/AllocatorConfig.h."""


class Role(NamedTuple):
    """What a storage is to a model."""

    name: str
    module: str
    """Path of the module whose parameter it is, or belongs to."""


class Models:
    """All modules of the models that were called, under their paths, and the optimizers that have stepped."""

    def __init__(self) -> None:
        self._modules: weakref.WeakValueDictionary[int, torch.nn.Module] = weakref.WeakValueDictionary()
        self._paths: dict[int, str] = {}
        self._with_parameters: set[int] = set()
        self._optimizers: weakref.WeakValueDictionary[int, torch.optim.Optimizer] = weakref.WeakValueDictionary()

    def path_of(self, module: torch.nn.Module) -> str | None:
        """`Net.encoder.layers.3`; None for a module that has not been met."""
        return self._paths[id(module)] if self._modules.get(id(module)) is module else None

    def meet(self, model: torch.nn.Module, path: str = "") -> str:
        """Give a model and everything in it a path; without one it is the root of a tree of its own."""
        root = path or type(model).__name__
        self._paths = {key: known for key, known in self._paths.items() if key in self._modules}
        self._with_parameters &= self._paths.keys()
        for name, module in _named_modules(model):
            self._modules[id(module)] = module
            self._paths[id(module)] = f"{root}.{name}" if name else root
        return root

    def has_parameters(self, module: torch.nn.Module) -> bool:
        """Whether it, or a module within it, has any; asked at each call, and known from the second on."""
        if id(module) in self._with_parameters and self.path_of(module) is not None:
            return True
        if not module._parameters and not module._modules:  # a criterion
            return False
        found = any(True for _ in module.parameters())
        if found and self.path_of(module) is not None:
            self._with_parameters.add(id(module))
        return found

    def meet_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """It is about to step, or has stepped."""
        self._optimizers[id(optimizer)] = optimizer

    def roles(self) -> dict[int, Role]:
        """By `untyped_storage()._cdata`. A few microseconds a parameter; runs no code of the user's."""
        with undisturbed():
            return {storage._cdata: role for storage, role in self.storages()}

    def roots(self) -> dict[str, torch.nn.Module]:
        """The models themselves, by name; those of modules that were called on their own too."""
        named = ((self._paths[key], module) for key, module in list(self._modules.items()))
        return {path: module for path, module in named if "." not in path}

    def sizes(self, bytes_of: Callable[[torch.UntypedStorage], int]) -> dict[str, int]:
        """Bytes of each role, as `bytes_of` counts them; to be asked `undisturbed`."""
        storages = {storage._cdata: (storage, role.name) for storage, role in self.storages()}
        sums: dict[str, int] = {}
        for storage, name in storages.values():
            sums[name] = sums.get(name, 0) + bytes_of(storage)
        return sums

    def role_bytes(self, device_type: str) -> dict[str, int]:
        """Bytes of each role on a device, in the allocator's blocks."""
        def on_device(storage: torch.UntypedStorage) -> int:
            return -(-storage.nbytes() // _BLOCK_BYTES) * _BLOCK_BYTES if storage.device.type == device_type else 0

        with undisturbed():
            return {name: nbytes for name, nbytes in self.sizes(on_device).items() if nbytes}

    def storages(self) -> Iterator[tuple[torch.UntypedStorage, Role]]:
        """With what each is to its model; to be asked `undisturbed`."""
        for tensor, role in self._tensors():
            try:
                yield tensor.untyped_storage(), role
            except (RuntimeError, NotImplementedError):  # a sparse tensor, or a subclass without storage of its own
                continue

    def _tensors(self) -> Iterator[tuple[torch.Tensor, Role]]:
        owners: dict[int, str] = {}
        for module in list(self._modules.values()):
            path = self._paths[id(module)]
            for buffer in _tensors_of(module._buffers):
                yield buffer, Role(PARAMETERS, path)
            for parameter in _tensors_of(module._parameters):
                owners[id(parameter)] = path
                yield from _with_gradient(parameter, path)
        for optimizer in list(self._optimizers.values()):
            yield from _of_optimizer(optimizer, owners)


def _named_modules(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    try:
        return list(model.named_modules())
    except Exception:  # an override of the user's, called in the middle of his forward pass
        return [("", model)]


def _tensors_of(values: dict[str, Any]) -> list[torch.Tensor]:
    return [value for value in list(values.values()) if isinstance(value, torch.Tensor)]


def _with_gradient(parameter: torch.Tensor, path: str) -> Iterator[tuple[torch.Tensor, Role]]:
    yield parameter, Role(PARAMETERS, path)
    if parameter.grad is not None:
        yield parameter.grad, Role(GRADIENTS, path)


def _of_optimizer(optimizer: torch.optim.Optimizer, owners: dict[int, str]) -> Iterator[tuple[torch.Tensor, Role]]:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            path = owners.get(id(parameter), "")
            yield from _with_gradient(parameter, path)
            state = optimizer.state.get(parameter, {})
            for value in _tensors_of(state) if isinstance(state, dict) else ():
                yield value, Role(OPTIMIZER_STATE, path)
