"""The decorator in the place of accelerate's, in a training script as the examples of transformers have it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import torch
from accelerate import Accelerator
from accelerate.utils import find_executable_batch_size
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel, get_linear_schedule_with_warmup

def training_function(config):
    accelerator = Accelerator()

    @find_executable_batch_size(starting_batch_size=config["batch_size"])
    def inner_training_loop(batch_size):
        accelerator.free_memory()
        print("batch size", batch_size, "holds", torch.cuda.memory_allocated())
        model = GPT2LMHeadModel(GPT2Config(
            vocab_size=100, n_positions=16, n_embd=64, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0))
        optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])
        loader = DataLoader([torch.arange(16)] * (3 * batch_size), batch_size=batch_size)
        schedule = get_linear_schedule_with_warmup(optimizer, 0, 3)
        model, optimizer, loader, schedule = accelerator.prepare(model, optimizer, loader, schedule)
        for batch in loader:
            accelerator.backward(model(input_ids=batch, labels=batch).loss)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        return batch_size

    print("trained with", inner_training_loop())

if __name__ == "__main__":
    training_function({"lr": 1e-3, "batch_size": 128})
"""


def output_of(folder: Path, text: str) -> list[str]:
    """What the script prints on a virtual card of 48 MiB."""
    path = folder / "train.py"
    path.write_text(text, encoding="utf-8")
    program = "import memdoctor, runpy\nwith memdoctor.virtual_gpu('48MiB'): runpy.run_path('train.py', {}, '__main__')"
    run = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_one_import_is_all_that_changes(tmp_path: Path) -> None:
    """accelerate takes a tenth off each time, this halves; both end with a size that fits, and begin each try empty."""
    pytest.importorskip("transformers", reason="the script is one of transformers, which memdoctor does not need")
    pytest.importorskip("accelerate", reason="the decorator that is replaced is accelerate's")
    theirs = output_of(tmp_path, SCRIPT)
    ours = output_of(tmp_path, SCRIPT.replace(
        "from accelerate.utils import find_executable_batch_size",
        "from memdoctor import auto_batch_size as find_executable_batch_size"))
    cublas_bytes = 8_519_680  # the workspace of its handle, which stays
    assert ours == ["batch size 128 holds 0", f"batch size 64 holds {cublas_bytes}", "trained with 64"]
    assert theirs[0] == "batch size 128 holds 0" and theirs[-1].startswith("trained with ")
