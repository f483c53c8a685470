"""The largest batch size that fits, found before training.

The search itself is `batch_finder.py`; each of its trials has a process of its own (`batch_trial.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from memdoctor import user_function
from memdoctor.batch_finder import BatchFinder
from memdoctor.batch_trial import IN_TRIAL, Request, Trials
from memdoctor.foundation.batch_sizes import LARGEST_SIZE, BatchSize, Trial
from memdoctor.foundation.errors import BadInput
from memdoctor.ranks import RankedTrials
from memdoctor.user_script import UserScript
from memdoctor.virtual.cards import find_card

TIME_LIMIT_SECONDS = 600.0


def find_batch_size(
    program: str | Callable[..., object] | UserScript,
    *,
    card: str | None = None,
    multiple_of: int = 1,
    max_size: int = LARGEST_SIZE,
    margin: float = 0.0,
    axis: str = "",
    at: Mapping[str, int] | None = None,
    in_copy: bool = False,
    ranks: int = 1,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> BatchSize:
    """Find the largest batch size whose training steps fit on a card.

    `program` is `make_step(batch_size)`, which builds model, optimizer and one batch, and returns a function without
    arguments that runs one whole training step; as text it is `train.py:make_step`. It may return a trainer instead
    (`trial_trainers.py` says of which frameworks). Each size is tried in a fresh process, so the function must stand at
    the top level of a file, and a file that calls `find_batch_size` itself must do so under
    `if __name__ == "__main__":`. A whole script is `user_script.script("train.py", "--batch-size")`.

    `card` is a name of the catalogue or a size such as `24GiB`, tried on the virtual GPU; without it the real card is
    used. `margin` is the part of it to leave free. `axis` names the argument to search instead of the batch size, and
    `at` further arguments: `axis="seq_len", at={"batch_size": 8}`. `in_copy` runs trials in a copy of the working
    directory. With `ranks` each trial runs so many processes together, each with a card of its own, as torchrun would
    (`ranks.py`). `time_limit_seconds` is for one trial; `on_trial` is called after each.

    Raises `BadInput` if the program cannot be used, or fails with anything but a full card.
    """
    request = request_for(program, card=card, margin=margin, axis=axis, at=at, in_copy=in_copy)
    _check_limits(multiple_of, max_size)
    limited = {"time_limit_seconds": time_limit_seconds}
    with RankedTrials(ranks=ranks, **limited) if ranks > 1 else Trials(**limited) as trials:
        return BatchFinder(trials, request, multiple_of=multiple_of, max_size=max_size, on_trial=on_trial).found()


def request_for(
    program: str | Callable[..., object] | UserScript,
    *,
    card: str | None,
    margin: float = 0.0,
    axis: str = "",
    at: Mapping[str, int] | None = None,
    in_copy: bool = False,
) -> Request:
    """What all trials of a program have in common; the size is 1.

    Raises `BadInput` for what no trial could use, before a process starts.
    """
    if IN_TRIAL in os.environ:
        raise BadInput(
            "A search for a batch size was begun while a trial imported this file.",
            'Call it under `if __name__ == "__main__":`.',
        )
    if not 0 <= margin < 1:
        raise BadInput(f"a margin of {margin:.0%} leaves nothing of the card.", "Give a part of it: 2%.")
    script = program if isinstance(program, UserScript) else None
    function = None
    if not isinstance(program, UserScript):
        function = user_function.named(program) if isinstance(program, str) else user_function.of(program)
    if card is not None:
        find_card(card)
    if script is not None and (axis or at):
        raise BadInput(
            f"{script} is a script: --axis and --at are for a function.",
            "Leave them out; what its command line takes besides goes after --.",
        )
    if script is not None:
        axis = script.argument.lstrip("-")
    return Request(1, card, function, script, axis, dict(at or {}), margin, in_copy=in_copy)


def _check_limits(multiple_of: int, max_size: int) -> None:
    if multiple_of < 1 or max_size < multiple_of:
        raise BadInput(
            f"there is no batch size that is a multiple of {multiple_of} and at most {max_size}.",
            "Give a multiple of 1 or more, and a maximum that is not below it.",
        )
