"""The loader is teed and one half is never consumed: the tee keeps every batch for it."""
import itertools

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def batches():
    for _ in range(22):
        yield torch.randn(28, 22).to(device)


def main():
    training, preview = itertools.tee(batches())
    next(preview)
    model = torch.nn.Linear(22, 3).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x in training:
        optimizer.zero_grad()
        model(x).pow(2).mean().backward()
        optimizer.step()


main()
