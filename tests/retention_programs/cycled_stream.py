"""itertools.cycle around a stream of fresh batches, each of which it saves for a second round."""
import itertools

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def stream():
    while True:
        yield torch.randn(48, 16, device=device)


model = nn.Linear(16, 16).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
batches = itertools.cycle(stream())
for step in range(30):
    x = next(batches)
    loss = (model(x) - x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
