"""A module that is made at run time and shared by all parts of a framework."""
import sys
import types

import torch
from torch import nn

registry = types.ModuleType("registry")
registry.samples = []
sys.modules["registry"] = registry


def train(device):
    import registry as shared

    model = nn.Linear(32, 4).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(33):
        x = torch.randn(18, 32).to(device)
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
        shared.samples.append(x)


train(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
