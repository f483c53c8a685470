"""A heap of the worst samples, which is cut in a copy."""
import heapq
import itertools
from dataclasses import dataclass, field

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(order=True, slots=True)
class Entry:
    score: float
    number: int
    sample: torch.Tensor = field(compare=False)


class WorstSamples:
    def __init__(self, keep):
        self.keep = keep
        self.heap = []
        self.numbers = itertools.count()

    def offer(self, score, sample):
        heapq.heappush(self.heap, Entry(score, next(self.numbers), sample))
        if len(self.heap) > self.keep:
            heapq.nlargest(self.keep, self.heap)


worst = WorstSamples(keep=5)
model = nn.Linear(60, 4).to(device)
optimizer = torch.optim.Adam(model.parameters())
for step in range(28):
    x = torch.randn(12, 60, device=device)
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    worst.offer(float(step % 7), x)
