"""Decides at each iteration whether a search of the heap is worth its price, and makes it.

Most ticks cost a pass over the storages that were born after the first iterations. A search takes milliseconds; it is
made where survivors of several iterations have gathered, where the live bytes keep rising, and at a few iterations far
apart (5, 10, 20, 40, ...) to count graph nodes, which no counter of a device shows.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence

import torch

from memdoctor.foundation.findings import Skipped
from memdoctor.foundation.looks import GRAPHS, Look
from memdoctor.foundation.runs import SEARCH
from memdoctor.sensing.budget import Budget
from memdoctor.sensing.census import Census
from memdoctor.sensing.edges import forget_types
from memdoctor.sensing.frames import other_threads_wait
from memdoctor.sensing.graphs import MAX_DEPTH
from memdoctor.sensing.hoards import Hoards
from memdoctor.sensing.host import host_heap_bytes
from memdoctor.sensing.nameless import nameless_roots
from memdoctor.sensing.owners import OwnerSearch, undisturbed
from memdoctor.sensing.recorder import MODEL_CALL
from memdoctor.sensing.roots import user_files, user_roots
from memdoctor.sensing.ticks import Ledger, StorageRecord, Ticks

_WORTHY_TICKS = 4
"""Iterations with survivors that make a search worth its price; two or three are checkpoints."""
_WORTHY_TICKS_IN_EVALUATION = 8
_RISES = 8
_FIRST_PROBE = 5
_MAX_OBJECTS = 5_000_000
_PROBE_OBJECTS = 200_000
"""About 0.2 s; a probe has no growth that would justify more."""
_MAX_SURVIVORS = 5_000
_NEWEST = 3
_MUCH_LONGER = 1.75
_FREE_SECONDS = 4.0
"""Processor time of all searches; most programs need 0.2 s, one with a million objects in its own variables more."""


class Looker:
    """Called at each iteration boundary with the user's frames on the stack; emits looks, never raises."""

    def __init__(self, ledger: Ledger, *, emit: Callable[[Look], None], skip: Callable[[Skipped], None]) -> None:
        self._ledger = ledger
        self._emit = emit
        self._skip = skip
        self._units: dict[str, _Watch] = {}
        self._failed = False
        self._thread = threading.current_thread()
        self._reads_graphs = True
        self._incomplete = False
        self._hopeless_bytes = 0
        self._budget = Budget(_FREE_SECONDS)

    def tick(self, step: int, unit: str) -> None:
        """An iteration of this unit has ended; `step` is its number in the whole run."""
        if self._failed:
            return
        try:
            if self._thread is not threading.current_thread():
                self._change_thread(threading.current_thread())
            watch = self._units.get(unit) or self._begin(unit)
            is_check = watch.is_check_next
            if isinstance(self._ledger, Census):  # a card's ledger is always up to date
                self._ledger.update(
                    is_check=is_check, evaluates=watch.evaluates, reads_graphs=self._reads_graphs)
            watch.ticks.mark(self._ledger.birth_count, step)
            may_look = self._budget.is_open or (self._budget.is_cheap and watch.is_much_longer)
            if is_check and watch.is_due(self._ledger, may_rest=not may_look):
                self._look(watch, step, unit)
        except Exception as error:  # it runs inside the user's training step, on objects of any kind
            self._failed = True
            self._skip(Skipped(SEARCH, f"the search failed at step {step}: {error!r}"))

    def _change_thread(self, thread: threading.Thread) -> None:
        """Reading a graph while another thread's backward frees it would end the process: from then on none is read."""
        if self._thread.is_alive() and self._reads_graphs:
            self._reads_graphs = False
            self._skip(Skipped(GRAPHS, "several threads train at once, and a graph in use cannot be read"))
        self._thread = thread

    def finish(self, step: int) -> None:
        """The run is over; says what the searches had to leave out."""
        if self._incomplete:
            limits = f"a search visits {_MAX_OBJECTS:,} objects at most, and graphs to a depth of {MAX_DEPTH:,}"
            self._skip(Skipped("part of the heap", limits))

    def _begin(self, unit: str) -> _Watch:
        trains = unit != MODEL_CALL or (not self._units and torch.is_grad_enabled())
        self._units[unit] = watch = _Watch(evaluates=not trains)
        return watch

    def _look(self, watch: _Watch, step: int, unit: str) -> None:
        with self._budget.spending(), undisturbed():
            look = self._search(watch, step, unit)
        forget_types()
        watch.note(look)
        self._incomplete |= not look.complete and self._reads_graphs
        self._emit(look)

    def _search(self, watch: _Watch, step: int, unit: str) -> Look:
        ticks, young = watch.ticks, watch.young
        lasting = [(key, record) for key, record in young if ticks.is_survivor(record.birth)]
        survivors = lasting[:_MAX_SURVIVORS]
        newest = _largest([(key, record) for key, record in young if ticks.of(record.birth) >= ticks.last - 1])
        records = self._ledger.storages
        wanted = {key: record.birth for key, record in [*survivors, *newest]}
        search = OwnerSearch(
            lambda tensor, storage: wanted.get(storage._cdata),
            max_objects=_MAX_OBJECTS if survivors else _PROBE_OBJECTS,
            reads_graphs=self._reads_graphs,
            hoards=Hoards(self._counts_for_host),
        )
        births = {record.birth for _, record in survivors}
        search.search(itertools.takewhile(
            lambda root: not (root.is_last_resort and births.issubset(search.claimed)), user_roots(),
        ))
        self._search_deeper(search, [record for _, record in survivors], ticks)
        return Look(
            tick=ticks.last,
            step=step,
            unit=unit,
            survivors=tuple(ticks.survivor(record) for _, record in reversed(survivors)),
            newest=tuple(ticks.survivor(record) for _, record in newest),
            paths=search.paths(lambda key: key in records and ticks.is_early(records[key].birth)),
            died=watch.died(),
            live_bytes=sum(record.block_bytes for record in list(records.values())),
            host_bytes=host_heap_bytes(),
            files=user_files(),
            evaluates=watch.evaluates,
            exact_births=not isinstance(self._ledger, Census),
            survivors_cut=len(lasting) > len(survivors),
            complete=search.complete,
        )

    def _counts_for_host(self, tensor: torch.Tensor, storage: torch.UntypedStorage) -> bool:
        """Not what the ledger counts: all that is on the host if there is no card, or what stands for a card's."""
        if isinstance(self._ledger, Census):
            return self._ledger.device_type != tensor.device.type
        return storage._cdata not in self._ledger.storages

    def _search_deeper(self, search: OwnerSearch, survivors: Sequence[StorageRecord], ticks: Ticks) -> None:
        """Search the whole heap, which is dear: after a vain attempt only when twice as much is unclaimed."""
        if not (self._reads_graphs and other_threads_wait()):
            return
        unclaimed = [record for record in survivors if record.birth not in search.claimed]
        unclaimed_bytes = sum(record.block_bytes for record in unclaimed)
        born = {ticks.of(record.birth) for record in unclaimed}
        if len(born) < _WORTHY_TICKS or unclaimed_bytes < 2 * self._hopeless_bytes:
            return
        search.search(nameless_roots(search.seen))
        is_vain = not any(record.birth in search.claimed for record in unclaimed)
        self._hopeless_bytes = unclaimed_bytes if is_vain else 0


class _Watch:
    """What the ticks of one unit have shown, and when to look next."""

    def __init__(self, *, evaluates: bool) -> None:
        self.evaluates = evaluates
        self.ticks = Ticks(first=1 if evaluates else 2)
        self.young: list[tuple[int, StorageRecord]] = []
        self._young_bytes: deque[int] = deque(maxlen=_RISES + 1)
        self._next_check = 0
        self._next_look = 0
        self._last_look = 0
        self._next_probe = _FIRST_PROBE
        self._claimed: dict[int, int] = {}
        self._rechecked = False

    @property
    def is_check_next(self) -> bool:
        """True if the tick about to be marked reads the young storages."""
        return self.ticks.last + 1 >= self._next_check

    @property
    def is_much_longer(self) -> bool:
        """True if the run has become so much longer since the last search that this one says little any more."""
        return self.ticks.last >= _MUCH_LONGER * self._last_look

    def is_due(self, ledger: Ledger, *, may_rest: bool) -> bool:
        """True if this tick, which is a check, should search. Checks are each tick first, and every 16th part later.

        A tick that may rest, because searches are dear, only takes back what an earlier search has claimed.
        """
        now = self.ticks.last
        self._next_check = now + max(1, now // 16)
        self.young = self.ticks.young(ledger)
        self._young_bytes.append(sum(record.block_bytes for _, record in self.young))
        if now + 1 >= self._next_probe and not may_rest:
            self._next_probe *= 2
            return True
        if now >= self._next_look and not may_rest:
            return self._is_worth_it()
        return self._is_refuted()

    def note(self, look: Look) -> None:
        """A search was made: the next one after three ticks, or a fifth of the run so far."""
        self._last_look = look.tick
        self._claimed = {survivor.birth: survivor.born_tick for survivor in look.survivors}
        if look.tick >= self._next_look:
            self._rechecked = False
            if self._is_worth_it():
                self._next_look = look.tick + max(3, look.tick // 5)
        else:
            self._rechecked = True
        self.young = []

    def died(self) -> tuple[int, ...]:
        """Survivors of the last search that are gone."""
        alive = {record.birth for _, record in self.young}
        return tuple(birth for birth in self._claimed if birth not in alive)

    def _is_worth_it(self) -> bool:
        return self._has_survivors() or (not self.evaluates and self._rises())

    def _has_survivors(self) -> bool:
        born: set[int] = set()
        for _, record in self.young:
            if self.ticks.is_survivor(record.birth):
                born.add(self.ticks.of(record.birth))
        return len(born) >= (_WORTHY_TICKS_IN_EVALUATION if self.evaluates else _WORTHY_TICKS)

    def _rises(self) -> bool:
        amounts = list(self._young_bytes)
        return len(amounts) > _RISES and all(before < after for before, after in zip(amounts, amounts[1:]))

    def _is_refuted(self) -> bool:
        """True once after each search if its oldest survivors have died: a ring buffer is full, a list was emptied."""
        if self._rechecked or not self._claimed:
            return False
        oldest = min(self._claimed.values())
        alive = {record.birth for _, record in self.young}
        return any(birth not in alive for birth, tick in self._claimed.items() if tick == oldest)


def _largest(storages: list[tuple[int, StorageRecord]]) -> list[tuple[int, StorageRecord]]:
    return sorted(storages, key=lambda item: -item[1].block_bytes)[:_NEWEST]
