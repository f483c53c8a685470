"""One search by memdoctor, in the form of `_other_finders.py`: python _our_finder.py FILE FUNCTION CARD MAX_SIZE"""

from __future__ import annotations

import json
import sys

from memdoctor.batch_size import find_batch_size


def main(file: str, function: str, card: str, max_size: str) -> None:
    found = find_batch_size(f"{file}:{function}", card=card, max_size=int(max_size))
    print(json.dumps({
        "batch_size": found.batch_size,
        "trials": len(found.trials),
        "out_of_memory": sum(not trial.fits for trial in found.trials),
        "recordings": len(found.recorded),
    }))


if __name__ == "__main__":
    main(*sys.argv[1:])
