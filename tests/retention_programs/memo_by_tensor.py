"""A decorator that remembers results by their argument; every tensor is another."""
import functools

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def memoize(function):
    cache = {}

    @functools.wraps(function)
    def wrapper(x):
        if x not in cache:
            cache[x] = function(x)
        return cache[x]

    return wrapper


@memoize
@torch.no_grad()
def statistics(x):
    return torch.cat([x.mean(dim=1), x.std(dim=1)])


model = nn.Linear(20, 8).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(25):
    x = torch.randn(16, 20, device=device)
    loss = model(x).square().mean() + statistics(x).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
