"""Names as the user would write them."""

from __future__ import annotations

import pytest

from memdoctor.analysis.names import holder_name, holder_path
from memdoctor.foundation.looks import Piece

TRAINER = Piece("global", "trainer", "__main__", "train.py", 0)
HISTORY = Piece("attr", "history", "Trainer", "train.py")
KEPT = Piece("local", "kept", "fit", "train.py", 3)


@pytest.mark.parametrize(
    ("pieces", "name", "path"),
    [
        pytest.param((KEPT,), "kept", "kept, local of fit in train.py", id="variable"),
        pytest.param((KEPT, Piece("key", "'a'")), "kept['a']", "kept, local of fit in train.py", id="key"),
        pytest.param(
            (TRAINER, HISTORY, Piece("key", "'loss'")),
            "Trainer.history['loss']",
            "trainer, global of train.py",
            id="attribute of a user's class",
        ),
        pytest.param(
            (TRAINER, Piece("attr", "metrics", "SimpleNamespace")),
            "trainer.metrics",
            "trainer, global of train.py",
            id="attribute of a namespace",
        ),
        pytest.param(
            (TRAINER, Piece("cell", "seen", "make.<locals>.track", "log.py", 4)),
            "seen",
            "closure of make.<locals>.track, trainer, global of train.py",
            id="closure",
        ),
        pytest.param(
            (TRAINER, Piece("module", "weight"), Piece("grad", "grad")),
            "p.grad",
            "trainer, global of train.py",
            id="gradient",
        ),
        pytest.param(
            (TRAINER, Piece("inside", "Logger"), Piece("index", "0"), Piece("inside", "MemoryHandler")),
            "trainer",
            "trainer, global of train.py",
            id="an index into what has no name",
        ),
        pytest.param(
            (Piece("cycle", "ctx.y"),), "ctx.y", "no variable: a reference cycle through C++", id="cycle"
        ),
    ],
)
def test_names(pieces: tuple[Piece, ...], name: str, path: str) -> None:
    assert (holder_name(pieces), holder_path(pieces)) == (name, path)
