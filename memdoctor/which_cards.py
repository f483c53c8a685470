"""Which cards of the catalogue train at one batch size: a trial on each, because operators differ from card to card."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from memdoctor.batch_finder import trial_of
from memdoctor.batch_size import TIME_LIMIT_SECONDS, request_for
from memdoctor.batch_trial import Trials
from memdoctor.foundation.batch_sizes import CardFit, WhichCards
from memdoctor.user_script import UserScript
from memdoctor.virtual.cards import CATALOGUE


def which_cards(
    program: str | Callable[..., object] | UserScript,
    size: int,
    *,
    margin: float = 0.0,
    axis: str = "",
    at: Mapping[str, int] | None = None,
    in_copy: bool = False,
    time_limit_seconds: float = TIME_LIMIT_SECONDS,
    on_trial: Callable[[CardFit], None] = lambda fit: None,
) -> WhichCards:
    """Try one size on every card of the catalogue, virtually; the arguments are those of `find_batch_size`.

    Raises `BadInput` if the program cannot be used, or fails with anything but a full card.
    """
    fits: list[CardFit] = []
    with Trials(time_limit_seconds=time_limit_seconds) as trials:
        for name, card in sorted(CATALOGUE.items(), key=lambda item: item[1].total_bytes):
            request = request_for(program, card=name, margin=margin, axis=axis, at=at, in_copy=in_copy)
            outcome = trials.run(dataclasses.replace(request, batch_size=size))
            fits.append(CardFit(name, card.total_bytes, trial_of(size, outcome)))
            on_trial(fits[-1])
    return WhichCards(size, tuple(fits), request.axis)
