"""Clean: an `lru_cache` of eight masks that sees more lengths than that."""
import functools

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@functools.lru_cache(maxsize=8)
def mask(length):
    return torch.ones(length, length).triu(1).to(device)


model = torch.nn.Linear(6, 6).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(30):
    length = 20 + step
    x = torch.randn(length, 6).to(device)
    optimizer.zero_grad()
    (mask(length) @ model(x)).pow(2).mean().backward()
    optimizer.step()
