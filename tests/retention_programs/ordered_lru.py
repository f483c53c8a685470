"""A cache that forgets what was used the longest ago."""
from collections import OrderedDict

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Cache(OrderedDict):
    def __init__(self, room):
        super().__init__()
        self.room = room

    def remember(self, key, value):
        self[key] = value
        self.move_to_end(key)
        while len(self) > self.room:
            self.popitem(last=False)


cache = Cache(room=10)
model = nn.Linear(20, 4).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(32):
    x = torch.randn(32, 20, device=device)
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    cache.remember(step, x)
