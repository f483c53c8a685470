"""A consumer in the old way: a generator that is sent each value and gathers them."""
import torch
from torch import nn


def gathering():
    seen = []
    while True:
        value = yield len(seen)
        seen.append(value)


def main():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sink = gathering()
    next(sink)
    model = nn.Linear(10, 24).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(28):
        output = model(torch.randn(16, 10, device=device))
        optimizer.zero_grad()
        output.abs().mean().backward()
        optimizer.step()
        sink.send(output.detach())
    print(sink.send(None))


main()
