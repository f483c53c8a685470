"""A reservoir: ten samples of all there were, each with the same chance."""
import random

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
random.seed(1)


class Reservoir:
    def __init__(self, places):
        self.places = places
        self.samples = []
        self.seen = 0

    def offer(self, sample):
        self.seen += 1
        if self.seen <= self.places:
            self.samples.append(sample)
            return
        place = random.randrange(self.seen)
        if place < self.places:
            self.samples[place] = sample


reservoir = Reservoir(10)
model = nn.Linear(24, 3).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(48):
    x = torch.randn(16, 24, device=device)
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    reservoir.offer(x)
