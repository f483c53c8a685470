"""Causal masks are cached for each length that has occurred."""
import random

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
random.seed(4)


class Masked(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.project = nn.Linear(width, width)
        self.masks = {}

    def mask(self, length):
        if length not in self.masks:
            self.masks[length] = torch.ones(length, length, device=device).triu(1).bool()
        return self.masks[length]

    def forward(self, x):
        hidden = self.project(x)
        scores = (hidden @ hidden.transpose(1, 2)).masked_fill(self.mask(x.shape[1]), float("-inf"))
        return scores.softmax(dim=-1) @ hidden


model = Masked(16).to(device)
optimizer = torch.optim.Adam(model.parameters())
for _ in range(70):
    x = torch.randn(4, random.randint(5, 30), 16, device=device)
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
