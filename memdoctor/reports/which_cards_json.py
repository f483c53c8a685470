"""The cards that fit a batch size as one JSON object, for other programs."""

from __future__ import annotations

import json

from memdoctor.foundation.batch_sizes import WhichCards
from memdoctor.foundation.records import VERSION


def which_cards_json(answer: WhichCards) -> str:
    """From the smallest card to the largest; sizes are in bytes."""
    cards = [
        {
            "card": each.card,
            "total_bytes": each.total_bytes,
            "fits": each.trial.fits,
            "peak_bytes": each.trial.peak_bytes,
            "seconds": each.trial.seconds,
        }
        for each in answer.cards
    ]
    return json.dumps({"version": VERSION, "batch_size": answer.batch_size, "cards": cards}, indent=1)
