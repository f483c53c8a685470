"""Each node of a trace knows the one before it."""
import torch
from torch import nn


class Node:
    __slots__ = ("value", "before")

    def __init__(self, value, before):
        self.value = value
        self.before = before


class Trace:
    def __init__(self):
        self.newest = None

    def note(self, value):
        self.newest = Node(value, self.newest)


device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
trace = Trace()
network = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 2)).to(device)
optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
for step in range(30):
    hidden = network[:2](torch.randn(8, 12, device=device))
    optimizer.zero_grad()
    network[2](hidden).square().mean().backward()
    optimizer.step()
    trace.note(hidden.detach())
