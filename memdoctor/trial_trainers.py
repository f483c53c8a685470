"""Trainers of frameworks as a program to try: how they get a batch size, and how they are started.

Nothing here imports a framework: what the user's file has made brings its own. Each runs until it is stopped, which is
the caller's to do.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

_LIGHTNING = ("lightning", "pytorch_lightning")
_MODULE = "LightningModule"


def with_batch_size(named: Any, size: int) -> Any:
    """The trainer or module that stands in the user's file, set to a batch size; None if it is neither.

    `transformers.Trainer`: its `args.per_device_train_batch_size`. `LightningModule`: its class is called with
    `batch_size`, and an object has the attribute set, or the one of its `hparams`, as Lightning's own tuner does.
    """
    if _is(named, "Trainer", "transformers"):
        named.args.per_device_train_batch_size = size
        named._train_batch_size = named.args.train_batch_size  # its own copy, which the loader is made with
        return named
    if isinstance(named, type) and _is_class(named, _MODULE, *_LIGHTNING):
        return named(batch_size=size)
    if _is(named, _MODULE, *_LIGHTNING):
        holder = named if hasattr(named, "batch_size") else named.hparams
        holder.batch_size = size
        return named
    return None


def training_of(made: Any) -> Callable[[], object] | None:
    """What starts the training; None if it is no trainer of a framework.

    Either of: a `transformers.Trainer`; a dictionary of its arguments; a tuple of what Lightning's `Trainer.fit` is
    called with, the trainer first; a `LightningModule` with a `train_dataloader` of its own.
    """
    if isinstance(made, dict) and _is(made.get("args"), "TrainingArguments", "transformers"):
        made = importlib.import_module("transformers").Trainer(**made)
    if _is(made, "Trainer", "transformers"):
        made.args.save_strategy = "no"
        train: Callable[[], object] = made.train
        return train
    if isinstance(made, tuple) and made and _is(made[0], "Trainer", *_LIGHTNING):
        return functools.partial(made[0].fit, *made[1:])
    if _is(made, _MODULE, *_LIGHTNING):
        return functools.partial(_plain_lightning_trainer(made).fit, made)
    return None


def _plain_lightning_trainer(module: Any) -> Any:
    """Of the package that the module is from; it writes nothing and prints nothing."""
    package = next(kind.__module__.partition(".")[0] for kind in type(module).__mro__ if kind.__name__ == _MODULE)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    name = "lightning.pytorch" if package == "lightning" else package
    return importlib.import_module(name).Trainer(num_sanity_val_steps=0, **quiet)


def _is(thing: object, name: str, *packages: str) -> bool:
    return _is_class(type(thing), name, *packages)


def _is_class(kind: type, name: str, *packages: str) -> bool:
    return any(each.__name__ == name and each.__module__.partition(".")[0] in packages for each in kind.__mro__)
