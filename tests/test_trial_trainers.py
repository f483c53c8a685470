"""Trainers of frameworks as programs to try; each test needs its framework, and a fake would prove nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import memdoctor
from memdoctor.trial_trainers import training_of, with_batch_size

WHY = "{} is not installed; memdoctor does not need it, its users may"

TRANSFORMERS = """
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

class Words(torch.utils.data.Dataset):
    def __len__(self):
        return 10_000
    def __getitem__(self, index):
        return {"input_ids": torch.arange(16), "labels": torch.arange(16)}

def arguments(batch_size):
    config = GPT2Config(vocab_size=100, n_positions=16, n_embd=64, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    settings = TrainingArguments("out", per_device_train_batch_size=batch_size, report_to=[], disable_tqdm=True)
    return {"model": GPT2LMHeadModel(config), "args": settings, "train_dataset": Words()}

def make_trainer(batch_size):
    return Trainer(**arguments(batch_size))

trainer = make_trainer(4)
"""

LIGHTNING = """
import lightning
import torch

class Network(lightning.LightningModule):
    def __init__(self, batch_size=4):
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(torch.nn.Linear(1000, 500), torch.nn.ReLU(), torch.nn.Linear(500, 10))
    def training_step(self, batch, index):
        return torch.nn.functional.cross_entropy(self.layers(batch[0]), batch[1])
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters())
    def train_dataloader(self):
        images, labels = torch.zeros(20_000, 1).expand(-1, 1000), torch.zeros(20_000, dtype=torch.long)
        data = torch.utils.data.TensorDataset(images, labels)
        return torch.utils.data.DataLoader(data, batch_size=self.hparams.batch_size)

def make_trainer(batch_size):
    return lightning.Trainer(logger=False, enable_checkpointing=False), Network(batch_size)

network = Network()
"""


@pytest.mark.parametrize("name", ["make_trainer", "arguments", "trainer"])
def test_transformers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that makes a trainer, one that makes its arguments, and a trainer that stands in the file."""
    pytest.importorskip("transformers", reason=WHY.format("transformers"))
    pytest.importorskip("accelerate", reason=WHY.format("accelerate"))
    assert_is_the_largest(TRANSFORMERS, name, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", ["make_trainer", "Network", "network"])
def test_lightning(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `fit` is called with, the class of a module, and a module that stands in the file."""
    pytest.importorskip("lightning", reason=WHY.format("lightning"))
    assert_is_the_largest(LIGHTNING, name, tmp_path, monkeypatch)


def assert_is_the_largest(text: str, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one full card, and nothing left in the working directory."""
    monkeypatch.chdir(folder)
    (folder / "train.py").write_text(text, encoding="utf-8")
    found = memdoctor.find_batch_size(f"train.py:{name}", card="48MiB", in_copy=True)
    assert found.batch_size > 4
    assert [(trial.batch_size, trial.fits) for trial in found.trials] == [
        (found.batch_size, True), (found.batch_size + 1, False)]
    assert [path.name for path in folder.iterdir()] == ["train.py"]


def test_what_is_no_trainer_is_left_alone() -> None:
    """The class decides, and the package that it is from: a user's own `Trainer` is a step like any other."""
    class Trainer:
        def __call__(self) -> None: ...

    for thing in (Trainer(), Trainer, (Trainer(),), {"args": None}, lambda: None):
        assert training_of(thing) is None
        assert with_batch_size(thing, 8) is None
