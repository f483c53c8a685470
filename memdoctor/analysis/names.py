"""Names of holders as the user would write them, and where such a name lives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from memdoctor.foundation.looks import Piece

_VARIABLES = ("local", "global", "cell", "default", "cached", "contextvar", "registry", "cycle", "instance")
_CYCLE_NAME = "p.grad"


def anchor(pieces: Sequence[Piece]) -> int:
    """Position where the name begins: the last attribute of a user's class, or variable of a function."""
    named = [at for at, piece in enumerate(pieces) if piece.kind in _VARIABLES or _is_users_attribute(piece)]
    return named[-1] if named else 0


def holder_name(pieces: Sequence[Piece]) -> str:
    """`Trainer.history['val_loss']`, `results['train']`, `hidden`; `p.grad` for the gradient of any parameter."""
    if pieces[-1].kind == "grad":
        return _CYCLE_NAME
    start = anchor(pieces)
    first = pieces[start]
    name = f"{_class_name(first)}.{first.text}" if _is_users_attribute(first) else first.text
    rest = itertools.takewhile(lambda piece: piece.kind != "inside", pieces[start + 1:])
    return name + "".join(map(_suffix, rest))


def holder_path(pieces: Sequence[Piece]) -> str:
    """`trainer, global of train.py`; `history, local of fit in train.py`."""
    root = pieces[0]
    if root.kind == "cycle":
        return "no variable: a reference cycle through C++"
    if root.kind == "instance":
        return f"a {root.text} that only the running statement holds"
    if root.kind == "registry":
        return f"{root.text}, which {root.scope} keeps"
    if root.kind == "contextvar":
        return f"{root.text}, context variable"
    where = f" in {root.file}" if root.file else ""
    place = f"global of {root.file or root.scope}" if root.kind == "global" else f"local of {root.scope}{where}"
    inner = pieces[anchor(pieces)]
    through = {"cell": "closure of", "default": "default argument of", "local": "local of the generator"}
    if inner is not root and inner.kind in through:
        return f"{through[inner.kind]} {inner.scope}, {root.text}, {place}"
    return f"{root.text}, {place}"


def _is_users_attribute(piece: Piece) -> bool:
    return piece.kind in ("attr", "module") and piece.file is not None


def _class_name(piece: Piece) -> str:
    return piece.scope.rsplit(".", 1)[-1]


def _suffix(piece: Piece) -> str:
    if piece.kind in ("key", "index"):
        return f"[{piece.text}]"
    if piece.kind == "module" and piece.text.isdecimal():
        return f"[{piece.text}]"
    if piece.kind in ("attr", "module", "grad"):
        return f".{piece.text}"
    return ".state[*]" if piece.kind == "moment" else ""
