"""Whole training steps, byte for byte as PyTorch 2.12.1's CUDA build on stub libraries recorded them.

Per step: peak allocated, peak reserved, allocated at the end.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from memdoctor.virtual.gpu import virtual_gpu

CARD_BYTES = 84_929_347_584


def _perceptron() -> nn.Module:
    layers = [part for _ in range(4) for part in (nn.Linear(1024, 1024), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(1024, 10))


def _perceptron_loss(model: nn.Module) -> torch.Tensor:
    features = torch.randn(256, 1024, device="cuda")
    labels = torch.randint(0, 10, (256,), device="cuda")
    return functional.cross_entropy(model(features), labels)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        query, key, value = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.attention(self.first_norm(x)).split(width, 2)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.dropout(self.projection(mixed.transpose(1, 2).reshape(batch, length, width)))
        return x + self.dropout(self.down(functional.gelu(self.up(self.second_norm(x)))))


class _Decoder(nn.Module):
    """GPT-2 of 124 million parameters, its head not tied."""

    def __init__(self, is_checkpointed: bool) -> None:
        super().__init__()
        self.is_checkpointed = is_checkpointed
        self.tokens, self.positions = nn.Embedding(50257, 768), nn.Embedding(1024, 768)
        self.blocks = nn.ModuleList(_Block(768, 12) for _ in range(12))
        self.norm, self.head = nn.LayerNorm(768), nn.Linear(768, 50257, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.is_checkpointed else block(x)
        logits = self.head(self.norm(x))
        return functional.cross_entropy(logits.view(-1, logits.shape[-1]), tokens.view(-1))


def _decoder_loss(model: nn.Module) -> torch.Tensor:
    return model(torch.randint(0, 50257, (4, 512), device="cuda"))


def _train(model: nn.Module, loss_of, precision: torch.dtype | None, steps: int) -> list[tuple[int, int, int]]:
    model.cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    scaler = torch.amp.GradScaler("cuda", enabled=precision is torch.float16)
    readings = []
    for _ in range(steps):
        torch.cuda.reset_peak_memory_stats()
        with torch.autocast("cuda", dtype=precision or torch.float16, enabled=precision is not None):
            loss = loss_of(model)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        del loss
        readings.append((
            torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved(), torch.cuda.memory_allocated()))
    return readings


RECORDED = [
    pytest.param(
        "h100-80gb", _perceptron, _perceptron_loss, None, [(151_284_736, 159_383_552, 117_614_080)] * 2,
        id="perceptron, float32"),
    pytest.param(
        "h100-80gb", _perceptron, _perceptron_loss, torch.bfloat16, [(151_284_736, 178_257_920, 117_614_080)] * 2,
        id="perceptron, bfloat16"),
    pytest.param(
        "h100-80gb", _perceptron, _perceptron_loss, torch.float16, [(151_286_272, 178_257_920, 117_615_104)] * 2,
        id="perceptron, float16 with a gradient scaler"),
    pytest.param(
        "h100-80gb", lambda: _Decoder(False), _decoder_loss, torch.bfloat16,
        [(3_344_592_384, 3_479_175_168, 2_027_265_024), (4_052_958_720, 4_513_071_104, 2_027_265_024)],
        id="GPT-2, bfloat16, cuDNN attention"),
    pytest.param(
        "a100-80gb", lambda: _Decoder(False), _decoder_loss, torch.bfloat16,
        [(3_297_681_920, 3_445_620_736, 1_981_376_512), (4_009_374_720, 4_687_134_720, 1_981_376_512)],
        id="GPT-2, bfloat16, flash attention"),
    pytest.param(
        "h100-80gb", lambda: _Decoder(True), _decoder_loss, None,
        [(3_340_542_464, 3_485_466_624, 2_028_877_824), (3_353_160_704, 4_724_883_456, 2_028_877_824)],
        id="GPT-2, float32, checkpointed"),
]


@pytest.mark.filterwarnings("ignore:.torch.cpu.amp.autocast:FutureWarning")  # PyTorch 2.4's own checkpointing
@pytest.mark.parametrize(("card", "make", "loss_of", "precision", "expected"), RECORDED)
def test_every_step_is_what_was_recorded(card: str, make, loss_of, precision, expected) -> None:
    with virtual_gpu(card, capacity_bytes=CARD_BYTES, context_bytes=0):
        assert _train(make(), loss_of, precision, len(expected)) == expected
