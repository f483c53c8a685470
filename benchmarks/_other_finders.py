"""One search by a finder of another package, on the virtual card: python _other_finders.py FINDER FILE FUNCTION CARD

Prints `{"batch_size", "trials", "out_of_memory"}`. Each finder runs as its documentation says, with its own defaults;
those that only shrink begin at the largest size there is. Within its loop it makes the same step that memdoctor gets.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from memdoctor.virtual.gpu import virtual_gpu

MAX_SIZE = 512
STEPS = 3


class Trials:
    """Runs the steps of a size, and counts."""

    def __init__(self, make_step: Callable[[int], Callable[[], None]]) -> None:
        self._make_step = make_step
        self.sizes: list[int] = []
        self.out_of_memory = 0

    def begin(self, batch_size: int) -> Callable[[], None]:
        self.sizes.append(batch_size)
        return self._counting(lambda: self._counting(self._make_step(batch_size)))

    def whole(self, batch_size: int) -> int:
        """What the finders call that retry a function: a training run of a few steps."""
        step = self.begin(batch_size)()
        for _ in range(STEPS):
            step()
        return batch_size

    def _counting(self, function: Callable[[], Any]) -> Callable[[], Any]:
        def counted() -> Any:
            try:
                return function()
            except torch.OutOfMemoryError:
                self.out_of_memory += 1
                raise
        return counted


def accelerate(trials: Trials) -> int:
    """Nine tenths of the size at each full card."""
    from accelerate.utils import find_executable_batch_size

    def train(batch_size: int) -> int:
        return trials.whole(batch_size)

    return int(find_executable_batch_size(train, starting_batch_size=MAX_SIZE)())


def toma(trials: Trials) -> int:
    """Half the size at each full card."""
    from toma import toma as finder

    @finder.batch(initial_batchsize=MAX_SIZE)
    def train(batch_size: int) -> int:
        return trials.whole(batch_size)

    return int(train())


def lightning_power(trials: Trials) -> int:
    return _lightning(trials, "power")


def lightning_binsearch(trials: Trials) -> int:
    return _lightning(trials, "binsearch")


def _lightning(trials: Trials, mode: str) -> int:
    """Three steps of each size; twice the size while they fit, then half, or the middle between fits and full."""
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.tuner import Tuner

    class Module(LightningModule):
        """Its own weight is on the host; the step it runs has model, optimizer and batch on the card."""

        def __init__(self) -> None:
            super().__init__()
            self.batch_size = 2
            self.weight = torch.nn.Parameter(torch.zeros(1, device="cpu"))
            self.made_for, self.made = 0, lambda: None

        def train_dataloader(self) -> Iterable[Any]:
            samples = range(8 * MAX_SIZE)  # beyond every batch: at a size of the whole data set Lightning never ends
            return torch.utils.data.DataLoader(samples, batch_size=self.batch_size)

        def training_step(self, batch: Any) -> torch.Tensor:
            if self.made_for != self.batch_size:
                self.made_for, self.made = self.batch_size, lambda: None
                self.made = trials.begin(self.batch_size)()
            self.made()
            return self.weight.sum()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD([self.weight])

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(accelerator="cpu", default_root_dir=folder, logger=False, enable_progress_bar=False)
        return int(Tuner(trainer).scale_batch_size(Module(), mode=mode) or 0)


FINDERS = {finder.__name__: finder for finder in (accelerate, lightning_power, lightning_binsearch, toma)}


def main(finder: str, file: str, function: str, card: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable()
    sys.path.insert(0, str(Path(file).parent))
    trials = Trials(getattr(importlib.import_module(Path(file).stem), function))
    with virtual_gpu(card):
        found = FINDERS[finder](trials)
    counts = {"trials": len(trials.sizes), "out_of_memory": trials.out_of_memory}
    print(json.dumps({"batch_size": min(found, MAX_SIZE), **counts}))


if __name__ == "__main__":
    main(*sys.argv[1:])
