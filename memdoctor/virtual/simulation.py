"""What lies over PyTorch while a virtual card is in place: modes, replaced names, kernels for meta tensors."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from memdoctor.foundation.printed import printed_without_our_frames
from memdoctor.virtual import cuda_api
from memdoctor.virtual.answers import ANSWERS, ASSUMPTIONS
from memdoctor.virtual.attributes import ATTRIBUTES
from memdoctor.virtual.autocast import Autocast
from memdoctor.virtual.between import BETWEEN, patch_grouping
from memdoctor.virtual.bindings import driver_attributes, patch_bindings
from memdoctor.virtual.cards import Card
from memdoctor.virtual.composites import composite_kernels, composite_rules
from memdoctor.virtual.computing import WITHOUT_VALUES, ComputingRecorder
from memdoctor.virtual.data_parallel import patch_data_parallel
from memdoctor.virtual.device import CardDevice
from memdoctor.virtual.distributed import patch_process_groups
from memdoctor.virtual.eager import patch_compilers
from memdoctor.virtual.engine import keep_modes
from memdoctor.virtual.fast_paths import patch_fast_paths
from memdoctor.virtual.flexible_attention import patch_flexible_attention
from memdoctor.virtual.graphs import graph_attributes
from memdoctor.virtual.lazy_modules import patch_lazy_modules
from memdoctor.virtual.ledger import Ledger
from memdoctor.virtual.legacy import patch_legacy
from memdoctor.virtual.operators import OPERATORS
from memdoctor.virtual.patches import Patches
from memdoctor.virtual.placement import PLACEMENT, patch_placement
from memdoctor.virtual.randomness import Generator
from memdoctor.virtual.recorder import Recorder, Rule
from memdoctor.virtual.recurrent import flatten_weights, is_acceptable
from memdoctor.virtual.registration import registered
from memdoctor.virtual.saving import patch_saving
from memdoctor.virtual.several import Cards
from memdoctor.virtual.storages import patch_storages
from memdoctor.virtual.streams import EventOfAnyDevice, StreamOfAnyDevice, stream_attributes
from memdoctor.virtual.swapping import patch_swapping
from memdoctor.virtual.timeline import StepReadings
from memdoctor.virtual.values import KnownContents, ReadLog
from memdoctor.virtual.warned import patch_warnings


@dataclass(frozen=True)
class Simulation:
    """What modes and patches share of one virtual GPU."""

    card: Card
    total_bytes: int
    taken_bytes: int
    """What PyTorch cannot have of a card."""
    ledgers: tuple[Ledger, ...]
    """One for each card."""
    known: KnownContents
    reads: ReadLog
    readings: StepReadings


@contextlib.contextmanager
def installed(simulation: Simulation, patches: Patches, workspaces: Mapping[Any, Rule]) -> Iterator[None]:
    """Puts all of it in place; the caller undoes `patches`, also where this raises while it enters.

    The dispatch mode goes below the function mode, which is popped while a C++ function runs.
    """
    cards = Cards(simulation.ledgers) if len(simulation.ledgers) > 1 else None
    device_mode = CardDevice(simulation.ledgers, {**ATTRIBUTES, **PLACEMENT, **(BETWEEN if cards else {})})
    recorder = _recorder(simulation, cards, workspaces)

    @contextlib.contextmanager
    def both_modes() -> Iterator[None]:
        with recorder(), device_mode:
            yield

    _patch_modules(simulation, patches)
    keep_modes(patches, device_mode, both_modes)
    swapping = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with contextlib.ExitStack() as layers:
            layers.enter_context(printed_without_our_frames)
            layers.enter_context(Autocast().installed(patches))
            layers.enter_context(registered(_composites(simulation, cards), "AutogradMeta"))
            layers.enter_context(simulation.readings)
            layers.enter_context(both_modes())
            yield
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swapping)


def _recorder(
    simulation: Simulation, cards: Cards | None, workspaces: Mapping[Any, Rule]
) -> Callable[[], Recorder]:
    """Makes the dispatch mode; each entry needs one of its own."""
    computes = simulation.known.follows_all
    kind, answers = (ComputingRecorder, ANSWERS) if computes else (Recorder, {**ASSUMPTIONS, **ANSWERS})
    operators = {**composite_rules(simulation.card), **OPERATORS, **workspaces}
    return functools.partial(
        kind, simulation.card, simulation.ledgers[0], simulation.known, simulation.reads, answers, operators, cards)


def _composites(simulation: Simulation, cards: Cards | None) -> dict[str, Callable[..., Any]]:
    left_out = WITHOUT_VALUES if simulation.known.follows_all else ()
    kernels = {name: kernel for name, kernel in composite_kernels(simulation.card).items() if name not in left_out}
    return kernels if cards is None else {name: cards.guarded(kernel) for name, kernel in kernels.items()}


def _patch_modules(simulation: Simulation, patches: Patches) -> None:
    cuda: dict[str, Any] = {
        **cuda_api.device_attributes(simulation.card, simulation.total_bytes, len(simulation.ledgers)),
        **cuda_api.memory_attributes(simulation.ledgers, simulation.total_bytes, simulation.taken_bytes),
        **stream_attributes(simulation.ledgers),
        **graph_attributes(simulation.ledgers, simulation.reads),
        **driver_attributes(simulation.ledgers, simulation.taken_bytes),
    }
    for module in (torch.cuda, torch.cuda.memory, torch.cuda.random, torch.cuda.graphs, torch.cuda.streams):
        for name, value in cuda.items():
            patches.replace(module, name, value)
    accelerator: Any = getattr(torch, "accelerator", None)
    for same in filter(None, (accelerator, getattr(accelerator, "memory", None))):
        for name, value in cuda_api.accelerator_attributes(cuda).items():
            patches.replace(same, name, value)
    for module in (torch.utils._foreach_utils, importlib.import_module("torch.optim.optimizer")):
        patches.replace(module, "_get_foreach_kernels_supported_devices", lambda: ["cuda", "meta"])
    patch_bindings(patches, simulation.ledgers, simulation.card.compute_capability)
    patches.set(torch.cuda.graph, "default_capture_stream", None)
    patches.set(torch, "Generator", Generator)
    patches.set(torch, "Stream", StreamOfAnyDevice)
    patches.set(torch, "Event", EventOfAnyDevice)
    patches.set(torch.distributions.Distribution, "_validate_args", False)
    patches.set(importlib.import_module("torch.nn.parallel._functions"), "_streams", None)
    patch_data_parallel(patches)
    _patch_cudnn(patches)
    patch_legacy(patches)
    patch_lazy_modules(patches)
    patch_placement(patches)
    patch_swapping(patches)
    patch_warnings(patches)
    patch_process_groups(patches)
    if len(simulation.ledgers) > 1:
        patch_grouping(patches)
    patch_storages(patches, simulation.ledgers, simulation.known)
    patch_compilers(patches, simulation.reads)
    patch_flexible_attention(patches, simulation.reads)
    if not simulation.known.follows_all:
        patch_fast_paths(patches)
    patch_saving(patches, simulation.ledgers, simulation.known, simulation.reads)


def _patch_cudnn(patches: Patches) -> None:
    """A CPU build knows nothing of cuDNN; recurrent layers ask whether their weights should lie in one buffer."""
    patches.set(torch.backends.cudnn, "is_acceptable", is_acceptable)
    patches.set(torch.backends.cudnn, "is_available", lambda: True)
    patches.set(torch, "_use_cudnn_rnn_flatten_weight", lambda: True)
    patches.set(torch, "_cudnn_rnn_flatten_weight", flatten_weights)
    patches.set(importlib.import_module("torch.backends.cudnn.rnn"), "get_cudnn_mode", lambda mode: mode)
