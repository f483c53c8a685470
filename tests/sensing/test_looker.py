"""When a look is worth its price, and what it brings back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.looks import Look
from memdoctor.foundation.records import plain, rebuild
from memdoctor.sensing.looker import Looker


class HandLedger:
    """A ledger that is told by hand what was born, and forgets what it is told to."""

    def __init__(self) -> None:
        self.storages: dict[int, SimpleNamespace] = {}
        self.birth_count = 0

    def bear(self, nbytes: int = 512) -> torch.Tensor:
        tensor = torch.zeros(nbytes, dtype=torch.uint8)
        key = tensor.untyped_storage()._cdata
        self.storages[key] = SimpleNamespace(birth=self.birth_count, nbytes=nbytes, block_bytes=nbytes)
        self.birth_count += 1
        return tensor

    def bury(self, tensor: torch.Tensor) -> None:
        del self.storages[tensor.untyped_storage()._cdata]


def looks_of(ledger: HandLedger, iterate: Callable[[], None], ticks: int) -> list[Look]:
    looks: list[Look] = []
    looker = Looker(ledger, emit=looks.append, skip=_fail)
    for step in range(ticks):
        iterate()
        looker.tick(step, "optimizer step")
    return looks


def _fail(skipped: Skipped) -> None:
    raise AssertionError(skipped.why)


def test_a_program_that_keeps_nothing_is_only_probed() -> None:
    """At the 5th, 10th and 20th iteration, for the graphs that no counter shows."""
    ledger = HandLedger()
    looks = looks_of(ledger, lambda: ledger.bury(ledger.bear()), 30)
    assert [look.tick for look in looks] == [4, 9, 19]


def test_survivors_of_four_iterations_are_worth_a_look() -> None:
    ledger = HandLedger()
    kept: list[torch.Tensor] = []
    looks = looks_of(ledger, lambda: kept.append(ledger.bear()), 9)
    last = looks[-1]
    assert [look.tick for look in looks] == [4, 7]
    assert [(each.born_tick, each.birth) for each in last.survivors] == [(2, 2), (3, 3), (4, 4), (5, 5)]
    assert [path.pieces[-2].text for path in last.paths if set(path.storages) & {2, 3, 4, 5}] == ["kept"] * 4


def test_a_leak_is_looked_at_until_the_end_though_searches_are_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one takes moments only; on a busy machine those of sixty iterations take more than what is free."""
    monkeypatch.setattr("memdoctor.sensing.looker._FREE_SECONDS", 0.0)
    monkeypatch.setattr("memdoctor.sensing.budget._SHARE_OF_TIME", 1e-9)
    ledger = HandLedger()
    kept: list[torch.Tensor] = []
    looks = looks_of(ledger, lambda: kept.append(ledger.bear()), 60)
    assert len(looks) < 7 and looks[-1].tick >= 30
    monkeypatch.setattr("memdoctor.sensing.budget._CHEAP_SECONDS", 0.0)
    assert len(looks_of(HandLedger(), lambda: kept.append(ledger.bear()), 60)) <= 1


def test_a_ring_that_is_full_refutes_the_look_before() -> None:
    ledger = HandLedger()
    ring: deque[torch.Tensor] = deque()

    def iterate() -> None:
        ring.append(ledger.bear())
        if len(ring) > 6:
            ledger.bury(ring.popleft())

    looks = looks_of(ledger, iterate, 10)
    assert any(look.died for look in looks)


def test_a_look_survives_the_recording() -> None:
    ledger = HandLedger()
    kept: list[torch.Tensor] = []
    look = looks_of(ledger, lambda: kept.append(ledger.bear()), 9)[-1]
    assert rebuild(Look, plain(look)) == look


def test_a_failure_ends_the_looking_and_is_told_once() -> None:
    skipped: list[Skipped] = []
    looker = Looker(SimpleNamespace(storages=None, birth_count=0), emit=_unexpected, skip=skipped.append)
    for step in range(8):
        looker.tick(step, "optimizer step")
    assert [each.what for each in skipped] == ["who holds the memory"]


def _unexpected(look: Look) -> None:
    raise AssertionError("a broken ledger was looked at")
