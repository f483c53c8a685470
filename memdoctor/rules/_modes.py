"""Which models are in evaluation and which in training, at one point of a scope: by `.eval()` and `.train()` before."""

from __future__ import annotations

from dataclasses import dataclass, field

from memdoctor.rules._loops import Loop


@dataclass(frozen=True)
class Mode:
    """What the last `.eval()` or `.train()` on a model set."""

    evaluates: bool
    model: str
    """The path that it was called on."""
    loops: tuple[Loop, ...]
    """The loops around that call."""


@dataclass(frozen=True)
class Modes:
    """One mode for each model, and the one that was set last."""

    of: dict[str, Mode] = field(default_factory=dict)
    last: Mode | None = None

    def after(self, mode: Mode) -> Modes:
        """With one more call."""
        return Modes({**self.of, mode.model: mode}, mode)

    def for_call(self, path: str) -> Mode | None:
        """Of the model that a call runs; of another one, set last, if its own was never set."""
        own = [mode for model, mode in self.of.items() if path == model or path.startswith(f"{model}.")]
        return own[-1] if own else self.last

    def joined(self, other: Modes) -> Modes:
        """After an if/else: what both branches agree on."""
        shared = {model: mode for model, mode in self.of.items() if _agree(mode, other.of.get(model))}
        return Modes(shared, self.last if _agree(self.last, other.last) else None)


def _agree(first: Mode | None, second: Mode | None) -> bool:
    return first is not None and second is not None and first.evaluates == second.evaluates
