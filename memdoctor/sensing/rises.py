"""Memory that a card gains for good reasons: optimizer state, gradients, copies of a model.

They come once, in the first iteration, when layers are unfrozen, when an average or a best model is first kept. They
look like growth to whoever compares two readings, and are named so that nobody searches for them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from memdoctor.foundation.looks import Rise
from memdoctor.sensing.edges import edges, is_tensor
from memdoctor.sensing.models import Models
from memdoctor.sensing.owners import undisturbed
from memdoctor.sensing.roots import user_roots
from memdoctor.sensing.ticks import Ledger

_WORTHY_RISE = 1.01
_MOST_RISES = 32
_MOST_SEARCHES = 8
"""For copies, which nobody announces; each visits so many objects at most."""
_MAX_OBJECTS = 100_000

BytesOf = Callable[[torch.UntypedStorage], int]
"""The blocks of a storage on the card in use; 0 for one that is elsewhere."""


class Rises:
    """Called at each iteration with the bytes allocated then; looks closer only where they are the most so far."""

    def __init__(self, models: Models, bytes_of: BytesOf) -> None:
        self._models = models
        self._bytes_of = bytes_of
        self._highest_bytes = 0
        self._known: dict[str, int] = {}
        self._searches = 0
        self.found: list[Rise] = []

    def note(self, step: int, allocated_bytes: int) -> None:
        """An iteration has ended."""
        if allocated_bytes <= _WORTHY_RISE * self._highest_bytes or len(self.found) >= _MOST_RISES:
            return
        rise_bytes, self._highest_bytes = allocated_bytes - self._highest_bytes, allocated_bytes
        with undisturbed():
            explained_bytes = self._compare(step, self._models.sizes(self._bytes_of))
            if explained_bytes < rise_bytes / 2 and self._searches < _MOST_SEARCHES:
                self._searches += 1
                self._compare(step, copy_sizes(self._models, self._bytes_of))

    def _compare(self, step: int, sizes: dict[str, int]) -> int:
        """Bytes that these causes have gained since they were last asked for."""
        gained = {cause: size - self._known.get(cause, 0) for cause, size in sizes.items()}
        self._known.update(sizes)
        self.found.extend(Rise(step, cause, nbytes) for cause, nbytes in gained.items() if nbytes > 0)
        return sum(gained.values())


def copy_sizes(models: Models, bytes_of: BytesOf) -> dict[str, int]:
    """Models like those that were called, and dicts like their `state_dict()`, as far as variables reach them."""
    own = {storage._cdata for storage, _ in models.storages()}
    sizes: dict[str, int] = {}
    for name, tensors in _copies(models):
        for storage in (tensor.untyped_storage() for tensor in tensors):
            if storage._cdata not in own:
                own.add(storage._cdata)
                sizes[name] = sizes.get(name, 0) + bytes_of(storage)
    return sizes


def _copies(models: Models) -> Iterator[tuple[str, list[torch.Tensor]]]:
    originals = {path: (type(model), _parameters(model)) for path, model in models.roots().items()}
    for value in _reachable():
        for path, (kind, parameters) in originals.items():
            if type(value) is kind and models.path_of(value) is None and _alike(_parameters(value), parameters):
                yield f"a copy of {path}", list(_parameters(value).values())
            elif isinstance(value, dict) and type(value) in (dict, OrderedDict) and _alike(value, parameters):
                yield f"a copy of the state of {path}", [each for each in value.values() if is_tensor(each)]


def _parameters(model: Any) -> dict[str, torch.Tensor]:
    return dict(torch.nn.Module.named_parameters(model))


def _alike(values: Mapping[str, Any], parameters: Mapping[str, torch.Tensor]) -> bool:
    if not len(parameters) <= len(values) <= 2 * len(parameters) or not parameters.keys() <= values.keys():
        return False
    return all(is_tensor(values[name]) and values[name].shape == each.shape for name, each in parameters.items())


def _reachable() -> Iterator[object]:
    """What is near the variables first: a copy of a model is not deep in some library's tables."""
    seen: dict[int, object] = {}
    waiting = deque(root.value for root in user_roots())
    while waiting and len(seen) < _MAX_OBJECTS:
        value = waiting.popleft()
        if id(value) not in seen and not is_tensor(value):
            seen[id(value)] = value
            yield value
            waiting.extend(child for _, child in edges(value))


def bytes_on(ledger: Ledger) -> BytesOf:
    """What a card's ledger has of a storage; 0 for one that is not on it."""
    def bytes_of(storage: torch.UntypedStorage) -> int:
        record = ledger.storages.get(storage._cdata)
        return record.block_bytes if record is not None else 0

    return bytes_of
