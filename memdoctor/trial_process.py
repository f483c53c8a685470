"""The process of one trial: `python -m memdoctor.trial_process REQUEST OUTCOME_FILE`.

It loads the user's function, runs whole training steps at one batch size on the real or the virtual card, writes down
what happened, and ends; its state is thrown away with it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memdoctor import user_function
from memdoctor.analysis.messages import is_out_of_memory
from memdoctor.batch_trial import STEPS, Outcome, Request
from memdoctor.foundation.errors import BadInput, MemdoctorError
from memdoctor.foundation.records import plain, rebuild
from memdoctor.foundation.tracebacks import without_our_frames
from memdoctor.sensing.current_card import CurrentCard, current_card
from memdoctor.virtual.gpu import virtual_gpu

_HOW_TO_WRITE_IT = (
    "Write `def make_step(batch_size): ... return step`, or name another function: memdoctor batch-size {}:FUNCTION"
)


def main() -> None:
    """Answer the request of the command line; a refusal of the user's function is an answer too."""
    request = rebuild(Request, json.loads(sys.argv[1]))
    answer = Path(sys.argv[2])
    try:
        outcome = _measured(request)
    except MemdoctorError as error:
        if error.__cause__ is not None:
            traceback.print_exception(without_our_frames(error.__cause__))
        outcome = Outcome(refusal=error.found, next_step=error.next_step)
    answer.write_text(json.dumps(plain(outcome)), encoding="utf-8")


def _measured(request: Request) -> Outcome:
    with contextlib.nullcontext() if request.card is None else virtual_gpu(request.card) as gpu:
        card = current_card()
        if card is None:
            raise _no_card(request)
        if gpu is not None:
            gpu.record_requests()
        make_step = _make_step(request)
        started = time.perf_counter()
        fits = _fits(make_step, request, card)
        return Outcome(
            card=request.card or card.name,
            room_bytes=card.room_bytes,
            fits=fits,
            peak_bytes=card.peak_bytes() if fits else None,
            seconds=round(time.perf_counter() - started, 3),
            requests=gpu.requests if gpu is not None and fits else None,
            skipped=() if gpu is None else (gpu.remark(),),
        )


def _no_card(request: Request) -> BadInput:
    return BadInput(
        "there is no GPU here to try batch sizes on.",
        f"Name the card they are for: memdoctor batch-size {request.function} --card 24GiB",
    )


def _make_step(request: Request) -> Callable[..., Any]:
    function = user_function.load(request.function)
    if not user_function.takes(function, request.batch_size):
        raise BadInput(
            f"{request.function} takes {user_function.parameters(function)}; "
            "batch-size calls it with one, the batch size.",
            _HOW_TO_WRITE_IT.format(request.function.source),
        )
    return function


def _fits(make_step: Callable[..., Any], request: Request, card: CurrentCard) -> bool:
    try:
        step = make_step(request.batch_size)
        _refuse_what_is_no_step(step, request)
        for _ in range(STEPS):
            step()
        card.wait()
    except MemdoctorError:
        raise
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            return False
        raise _failed(error, request) from error
    return True


def _refuse_what_is_no_step(step: object, request: Request) -> None:
    how_to_write_it = _HOW_TO_WRITE_IT.format(request.function.source)
    if not callable(step):
        raise BadInput(f"{request.function} returned {step!r:.60}, not a function that runs a step.", how_to_write_it)
    if not user_function.takes(step):
        raise BadInput(
            f"The step that {request.function} returned takes {user_function.parameters(step)}; "
            "batch-size calls it with none.",
            how_to_write_it,
        )


def _failed(error: BaseException, request: Request) -> BadInput:
    next_step = "Its traceback is above."
    if request.batch_size == 1:
        next_step += " If one sample is too few, as for batch norm, search in twos: --multiple-of 2"
    return BadInput(
        f"{request.function} failed at batch size {request.batch_size}, not for memory: "
        f"{user_function.describe(error)}.",
        next_step,
    )


if __name__ == "__main__":
    main()
