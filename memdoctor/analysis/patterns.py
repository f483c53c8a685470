"""Which pattern a holder is an example of: its code and name, what it costs beyond the bytes, and what to change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memdoctor.foundation.looks import OwnerPath, Piece
from memdoctor.foundation.units import format_bytes


@dataclass(frozen=True)
class Kept:
    """What a holder keeps, as far as it matters for the advice."""

    name: str
    pieces: tuple[Piece, ...]
    paths: tuple[OwnerPath, ...]
    is_container: bool
    is_backlog: bool = False
    """True if old elements go, but more slowly than new ones come."""

    @property
    def with_graph(self) -> bool:
        return any(path.through_graph or path.has_grad_fn for path in self.paths)

    @property
    def are_scalars(self) -> bool:
        """All of them: `.item()` is no advice for the states beside the losses."""
        return all(path.is_scalar for path in self.paths)

    @property
    def view_bytes(self) -> int | None:
        """The size of the views that keep larger storages, if most of the tensors are such."""
        views = [path.view_bytes for path in self.paths if path.view_bytes is not None]
        return views[-1] if len(views) * 2 > len(self.paths) else None


@dataclass(frozen=True)
class Pattern:
    """A rule's code and name, and two sentences on this example of it."""

    code: str
    name: str
    cause: str
    fix: str


def pattern_of(kept: Kept) -> Pattern:
    """The first pattern that fits, from the rarest to the most general."""
    return next(pattern for recognise in _PATTERNS if (pattern := recognise(kept)) is not None)


def shell_pattern(name: str, nodes_per_step: int, *, is_scalar: bool) -> Pattern:
    """A graph that backward has emptied and that still gets longer."""
    return Pattern(
        "MD101",
        "loss-kept-with-graph",
        f"{nodes_per_step} graph nodes more stay on the host each time; backward has freed what they had saved.",
        f"Add `{'.item()' if is_scalar else '.detach()'}` to what is put into {name}.",
    )


def enlarging_pattern(name: str) -> Pattern:
    """A tensor that is replaced by a larger one."""
    return Pattern(
        "MD103",
        "output-kept-on-device",
        "One tensor is replaced by a larger one each time.",
        f"Bound it, as in `{name} = {name}[-limit:]`, or keep the older part on the host with `.cpu()`.",
    )


def _cycle_of_context(kept: Kept) -> Pattern | None:
    if not kept.pieces[0].text.startswith("ctx."):
        return None
    return Pattern(
        "MD107",
        "tensor-on-ctx",
        f"No variable holds it: {kept.name} ties the tensor to its own graph. At best the garbage collector frees such "
        "a cycle, and it does not know that the card fills.",
        f"Pass the tensor to `ctx.save_for_backward` instead of setting {kept.name}.",
    )


def _cycle_of_gradient(kept: Kept) -> Pattern | None:
    if not kept.with_graph or (kept.pieces[-1].kind != "grad" and kept.pieces[0].text != "p.grad"):
        return None
    return Pattern(
        "MD203",
        "backward-create-graph",
        "`create_graph=True` tied each parameter to its gradient and the gradient to its graph.",
        "Set `p.grad = None` for each parameter after the step, or use `torch.autograd.grad`.",
    )


def _backlog(kept: Kept) -> Pattern | None:
    if not kept.is_backlog:
        return None
    return Pattern(
        "MD103",
        "output-kept-on-device",
        "It is filled faster than it is emptied.",
        f"Let the producer wait for the consumer (`maxsize=...` of a queue), drop the oldest of {kept.name}, or move "
        "what waits to the host with `.cpu()`.",
    )


def _cached_function(kept: Kept) -> Pattern | None:
    if not any(piece.kind == "cached" for piece in kept.pieces):
        return None
    fix = "Give `lru_cache` a small `maxsize`, or do not cache tensors."
    return Pattern("MD103", "output-kept-on-device", f"Every result of {kept.name}() is cached.", fix)


def _hook(kept: Kept) -> Pattern | None:
    if not any(piece.kind == "attr" and piece.text.endswith("_hooks") for piece in kept.pieces):
        return None
    return Pattern(
        "MD106",
        "hook-never-removed",
        "A hook is registered each time and none is removed.",
        "Keep the handle that `register_*_hook` returns and call its `remove()`, or register once before the loop.",
    )


def _finalizer(kept: Kept) -> Pattern | None:
    if kept.pieces[0].text != "weakref.finalize":
        return None
    return Pattern(
        "MD103",
        "output-kept-on-device",
        "What is passed to a finalizer lives as long as the object that it waits for.",
        "Pass it numbers instead of tensors, or register it on an object that dies soon.",
    )


def _exception(kept: Kept) -> Pattern | None:
    through_frame = any(piece.kind == "local" for path in kept.paths for piece in path.pieces[len(kept.pieces):])
    if not through_frame:
        return None
    code, name = ("MD102", "output-kept-with-graph") if kept.with_graph else ("MD103", "output-kept-on-device")
    return Pattern(
        code,
        name,
        "A kept exception keeps its traceback, and so every variable of the functions that it came through.",
        "Keep `str(error)`, or `error.with_traceback(None)` without its context.",
    )


def _scalars_with_graph(kept: Kept) -> Pattern | None:
    if not (kept.with_graph and kept.are_scalars):
        return None
    saves = any(path.through_graph for path in kept.paths)
    saved = "its autograd graph stays: what it saved for a backward that never runs."
    cause = saved if saves else "an empty graph stays."
    return Pattern(
        "MD101",
        "loss-kept-with-graph",
        f"With each value {cause}",
        f"Put `.item()` into {kept.name}: a number keeps nothing.{_detached_view(kept)}",
    )


def _detached_view(kept: Kept) -> str:
    """`mse_loss` on a card reduces in place: its result is the first element of all it has computed."""
    if not kept.is_container:
        return ""  # a sum is one block
    if kept.view_bytes is None:
        return " `.detach()` would drop the graph too, and leave a block of the card for each value."
    return " `.detach()` would not be enough: the value is a view of a larger storage."


def _state_with_graph(kept: Kept) -> Pattern | None:
    if kept.is_container or not kept.with_graph:
        return None
    return Pattern(
        "MD104",
        "hidden-state-without-detach",
        "It carries the graph of all earlier iterations into the next.",
        f"Cut it once per iteration: `{_cut(kept.name)}`.",
    )


def _cut(name: str) -> str:
    """A recurrent state is often a tuple, which takes no new element."""
    whole, bracket, index = name.rpartition("[")
    if bracket and index[:-1].isdigit():
        return f"{whole} = tuple(each.detach() for each in {whole})"
    return f"{name} = {name}.detach()"


def _with_graph(kept: Kept) -> Pattern | None:
    if not kept.with_graph:
        return None
    if not any(path.through_graph for path in kept.paths):
        return Pattern(
            "MD102",
            "output-kept-with-graph",
            "These bytes are the tensors themselves; their graphs have saved nothing more.",
            f"Put `.detach().cpu()` into {kept.name}, or a number; `.detach()` alone frees nothing of the card.",
        )
    return Pattern(
        "MD102",
        "output-kept-with-graph",
        "Each tensor keeps its autograd graph alive.",
        f"Add `.detach()` to what is put into {kept.name}, and `.cpu()` after it if the host is enough.",
    )


def _view(kept: Kept) -> Pattern | None:
    if kept.view_bytes is None:
        return None
    return Pattern(
        "MD103",
        "output-kept-on-device",
        f"A view of {format_bytes(kept.view_bytes)} keeps its whole storage.",
        "Keep `.item()`, a number." if kept.are_scalars else "Use `.clone()` on the view before it is kept.",
    )


def _on_device(kept: Kept) -> Pattern | None:
    fix = "Bound it (`deque(maxlen=...)`), `del` what is done with, or move it from the card to the host with `.cpu()`."
    return Pattern("MD103", "output-kept-on-device", "The tensors carry no graph, but none of them is let go.", fix)


_PATTERNS: Sequence[Callable[[Kept], Pattern | None]] = (
    _cycle_of_context,
    _cycle_of_gradient,
    _backlog,
    _cached_function,
    _hook,
    _finalizer,
    _exception,
    _scalars_with_graph,
    _state_with_graph,
    _with_graph,
    _view,
    _on_device,
)
