"""How long a training step takes on the virtual card, and how long it takes to enter one after `import torch`.

    python benchmarks/virtual_speed.py

The models are written out here and in `_adapted_llama.py`, in the shapes of GPT-2 (124 million parameters), ResNet-50
and Llama. A step's figure is the median after one warm-up step; the machine may be busy, so processor seconds stand
beside those of the clock. Host memory is the most that this process ever held, its imports and all rows included.
Start-up is measured with bytecode in place, as an installed package has it; `import torch` leaves a collection of all
its objects due, which falls into our import and is in the figure and beside it.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import torch
from _adapted_llama import LLAMA_1B, LLAMA_7B, adapted_step
from _results import write
from torch import nn
from torch.nn import functional

import memdoctor

STEPS = 5
STARTS = 5

Step = Callable[[], None]


class Block(nn.Module):
    """Of a decoder: 12 heads of 64."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        query, key, value = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.attention(self.first_norm(x)).split(width, 2)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True, dropout_p=0.1)
        mixed = mixed.transpose(1, 2).reshape(batch, length, width)
        x = x + functional.dropout(self.projection(mixed), 0.1)
        return x + functional.dropout(self.down(functional.gelu(self.up(self.second_norm(x)))), 0.1)


class Decoder(nn.Module):
    def __init__(self, vocabulary: int = 50_257, width: int = 768, heads: int = 12, layers: int = 12) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(1024, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width),
        )
        is_same = stride == 1 and channels == 4 * width
        self.shortcut = nn.Identity() if is_same else nn.Sequential(
            nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.body(x) + self.shortcut(x), inplace=True)


def residual_network() -> nn.Module:
    """50 layers in stages of 3, 4, 6 and 3 blocks."""
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    blocks, channels = [], 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            blocks.append(Bottleneck(channels, width, 1 if number else stride))
            channels = 4 * width
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000))


def decoder_step() -> Step:
    model = Decoder().cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.randint(0, 50_257, (8, 1024), device="cuda")

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            logits = model(tokens)
            loss = functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
        loss.backward()
        optimizer.step()

    return step


def residual_step() -> Step:
    model = residual_network().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    images = torch.randn(64, 3, 224, 224, device="cuda")
    labels = torch.randint(0, 1000, (64,), device="cuda")

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def timed(make: Callable[[], Step]) -> dict[str, float]:
    with memdoctor.virtual_gpu("a100-80gb") as gpu:
        step = make()
        step()
        clock, processor = [], []
        for _ in range(STEPS):
            started = time.perf_counter(), time.process_time()
            step()
            clock.append(time.perf_counter() - started[0])
            processor.append(time.process_time() - started[1])
        return {
            "step_seconds": round(statistics.median(clock), 4),
            "step_processor_seconds": round(statistics.median(processor), 4),
            "fastest_step_seconds": round(min(clock), 4),
            "peak_allocated_bytes": gpu.max_allocated_bytes,
        }


START = """
import gc, time, torch
collections = []
gc.callbacks.append(lambda phase, info: collections.append(time.process_time() * (1 if phase == "stop" else -1)))
started = time.perf_counter(), time.process_time()
import memdoctor
with memdoctor.virtual_gpu("a100-80gb"):
    torch.empty(1, device="cuda")
    print(time.perf_counter() - started[0], time.process_time() - started[1], sum(collections))
"""


def start_up() -> dict[str, float]:
    """From `import torch` to the first tensor on the card, in processes of their own."""
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": bytecode}
        _, *starts = [started(environment) for _ in range(1 + STARTS)]
    clock, processor, collector = zip(*starts)
    return {
        "seconds": round(statistics.median(clock), 4),
        "processor_seconds": round(statistics.median(processor), 4),
        "of_which_collector": round(statistics.median(collector), 4),
        "fastest_seconds": round(min(clock), 4),
    }


def started(environment: dict[str, str]) -> tuple[float, ...]:
    ran = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True, env=environment)
    return tuple(map(float, ran.stdout.split()))


def main() -> None:
    figures: dict[str, object] = {
        "GPT-2 124M, 8 x 1024, bfloat16 autocast, AdamW": timed(decoder_step),
        "ResNet-50, batch 64, float32, SGD": timed(residual_step),
        "Llama 1B, LoRA, 1 x 512, bfloat16, AdamW": timed(lambda: adapted_step(LLAMA_1B)),
        "Llama 7B, LoRA, 1 x 512, bfloat16, AdamW": timed(lambda: adapted_step(LLAMA_7B)),
        "host memory of this process": {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024},
        "start-up after import torch": start_up(),
    }
    for name, figure in figures.items():
        print(f"{name:50} {figure}")
    print(write("virtual_speed", figures))


if __name__ == "__main__":
    main()
