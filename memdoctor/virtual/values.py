"""What a read of the virtual card answers where nothing is computed (`values="zeros"`).

==========================================  =====================================================================
read                                        answer
==========================================  =====================================================================
anything whose contents are known           the exact values: integers and booleans up to 65,536 elements, and single
                                            numbers, that come from the host or from constants alone
`item()`, `float()`, `int()` of a float     1.0
`item()` of an integer                      0
`item()`, `bool()` of a boolean             False
`isfinite`, `isnan`, `isinf`                every value is finite
`all`, `any`                                True, False
`.cpu()`, `.tolist()`, copies to the host   zeros
`nonzero`, boolean index, `masked_select`   every element is chosen (an upper bound)
the same in torchvision's detectors         as many boxes, and positive ones among them, as their sampler may take
`unique`, `bincount`                        every element differs; `minlength` bins
`nms` of torchvision                        no box is suppressed (an upper bound)
`equal`, `allclose`                         True; False for single booleans
`GradScaler` overflow check                 no overflow
curvature condition of `LBFGS`              fulfilled: the step enters its history
==========================================  =====================================================================

The first use of each answer at each line of the user's program is noted in `ReadLog`.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from types import FrameType
from typing import Any, NamedTuple

import torch

from memdoctor.virtual.ledger import Ledger
from memdoctor.virtual.sparse_parts import assembled, parts
from memdoctor.virtual.storage_record import StorageRecord

KNOWN_ELEMENTS = 65_536
_PACKAGE_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_LIBRARY_FOLDERS = tuple(
    os.path.join(folder, "")
    for folder in {
        _PACKAGE_FOLDER,
        os.path.dirname(torch.__file__),
        *(sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")),
    }
)


class Read(NamedTuple):
    """One read that was answered by policy."""

    what: str
    path: str
    line: int


class ReadLog:
    """First uses of policy answers, by the line of the user's program that asked."""

    def __init__(self) -> None:
        self._first_uses: dict[Read, None] = {}

    @property
    def reads(self) -> tuple[Read, ...]:
        """In the order of their first use."""
        return tuple(self._first_uses)

    def note(self, what: str) -> None:
        frame = user_frame(sys._getframe(1))
        if frame is not None:
            self._first_uses.setdefault(Read(what, frame.f_code.co_filename, frame.f_lineno))


def user_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame that is not memdoctor's, PyTorch's, the standard library's or an installed package's."""
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith((*_LIBRARY_FOLDERS, "<frozen")):
            return frame
        frame = frame.f_back
    return None


def plausible_number(dtype: torch.dtype) -> float | int | bool:
    """The answer to `item()` where nothing is known."""
    if dtype.is_floating_point or dtype.is_complex:
        return 1.0
    return False if dtype is torch.bool else 0


def worth_knowing(tensor: torch.Tensor) -> bool:
    """Whether contents of this size and type are followed: counters, masks, lengths, single numbers."""
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        return tensor.numel() == 1
    return tensor.numel() <= KNOWN_ELEMENTS


class KnownContents:
    """Exact contents of the card's storages that come from the host or from constants alone.

    They are kept per storage, as bytes on the host, so that views and writes through views need no rules of their own.
    """

    def __init__(self, ledger: Ledger, follows_all: bool = False) -> None:
        """`follows_all`: every operator is computed on the host (`computing.py`), and contents of any size are kept."""
        self._ledger = ledger
        self.follows_all = follows_all

    def follows(self, tensor: torch.Tensor) -> bool:
        """Whether contents of this size and type are kept."""
        return self.follows_all or worth_knowing(tensor)

    def keep(self, record: StorageRecord, storage: torch.UntypedStorage) -> None:
        """Note the contents of a storage that was read from a file."""
        if storage.device.type == "cpu" and (self.follows_all or storage.nbytes() <= KNOWN_ELEMENTS):
            record.known = storage

    def of(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The host twin of a tensor of the card, sharing memory with the twins of its views; None where unknown."""
        if tensor.layout is not torch.strided:
            return self._sparse_twin(tensor)
        record = self._record(tensor)
        if record is None or record.known is None:
            return None
        twin = torch.empty(0, dtype=tensor.dtype, device="cpu")
        twin.set_(record.known, tensor.storage_offset(), tensor.size(), tensor.stride())
        twin = twin.conj() if tensor.is_conj() else twin
        return torch._neg_view(twin) if tensor.is_neg() else twin

    def _sparse_twin(self, tensor: torch.Tensor) -> torch.Tensor | None:
        twins = [self.of(part) for part in parts(tensor)]
        known = [twin for twin in twins if twin is not None]
        return assembled(tensor, known) if len(known) == len(twins) else None

    def has(self, tensor: torch.Tensor) -> bool:
        record = self._record(tensor)
        return record is not None and record.known is not None

    def learn(self, tensor: torch.Tensor, contents: torch.Tensor) -> None:
        """Note the contents of a whole new storage; ignored where shape or layout do not fit it."""
        record = self._record(tensor)
        if record is None or tensor.storage_offset() or tensor.untyped_storage().nbytes() != record.nbytes:
            return
        host = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")
        if host.untyped_storage().nbytes() == record.nbytes and host.shape == contents.shape:
            record.known = host.copy_(contents).untyped_storage()

    def write(self, tensor: torch.Tensor, contents: torch.Tensor) -> None:
        """Note the contents of a tensor, of which the rest of its storage need not be known."""
        record = self._record(tensor)
        if record is None or tensor.shape != contents.shape:
            return
        if record.known is None:
            record.known = torch.zeros(record.nbytes, dtype=torch.uint8, device="cpu").untyped_storage()
        twin = self.of(tensor)
        if twin is not None:
            twin.copy_(contents)

    def forget(self, tensor: torch.Tensor) -> None:
        """Something unknown was written."""
        record = self._record(tensor)
        if record is not None:
            record.known = None

    def twins(self, value: Any) -> Any:
        """Replace the card's tensors in an argument by their host twins; raises `LookupError` where one is unknown."""
        if isinstance(value, torch.Tensor):
            twin = self.of(value) if value.is_meta else value
            if twin is None:
                raise LookupError
            return twin
        if isinstance(value, (list, tuple)):
            return [self.twins(item) for item in value]
        if isinstance(value, torch.device):
            return torch.device("cpu")
        return value

    def _record(self, tensor: torch.Tensor) -> StorageRecord | None:
        """None for a sparse tensor, which has no storage of its own."""
        if tensor.layout is not torch.strided:
            return None
        return self._ledger.storages.get(tensor.untyped_storage()._cdata)
