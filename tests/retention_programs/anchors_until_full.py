"""Clean: anchors are gathered until there are thirty; thereafter each replaces a random one."""
import random

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class AnchorCache:
    def __init__(self, capacity=30):
        self.capacity = capacity
        self.anchors = {}

    def offer(self, embedding):
        if len(self.anchors) < self.capacity:
            self.anchors[len(self.anchors)] = embedding
        else:
            self.anchors[random.randrange(self.capacity)] = embedding


cache = AnchorCache()
encoder = nn.Linear(18, 36).to(device)
optimizer = torch.optim.SGD(encoder.parameters(), lr=0.02)
for step in range(90):
    z = encoder(torch.randn(11, 18, device=device))
    optimizer.zero_grad()
    (z.norm(dim=1) - 1).square().mean().backward()
    optimizer.step()
    cache.offer(z.detach())
