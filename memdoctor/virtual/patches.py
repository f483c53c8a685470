"""Replaces attributes for the time of a `with`, and puts every one back, in reverse order, whatever happened."""

from __future__ import annotations

from typing import Any

_MISSING = object()


class Patches:
    """What was replaced so far."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Replace `owner.name`, or add it for the time of the patch where this version of torch has none."""
        self._replaced.append((owner, name, vars(owner).get(name, _MISSING)))
        setattr(owner, name, value)

    def replace(self, owner: Any, name: str, value: Any) -> None:
        """Replace `owner.name` where this version of torch has it."""
        if name in vars(owner):
            self.set(owner, name, value)

    def undo(self) -> None:
        while self._replaced:
            owner, name, value = self._replaced.pop()
            if value is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
