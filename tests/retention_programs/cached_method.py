"""`functools.cache` on a method whose argument is new in every step."""
import functools

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class RotaryEncoding(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("frequencies", torch.arange(width, dtype=torch.float32))

    @functools.cache
    def table(self, offset, length):
        positions = torch.arange(offset, offset + length, device=self.frequencies.device)
        return positions[:, None] * self.frequencies[None]

    def forward(self, x, offset):
        return x + self.table(offset, x.shape[0]).sin()


encoding = RotaryEncoding(16).to(device)
layer = nn.Linear(16, 16).to(device)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
offset = 0
for step in range(26):
    x = torch.randn(40, 16, device=device)
    loss = layer(encoding(x, offset)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    offset += 40
