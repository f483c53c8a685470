"""`functools.partial` binds the list that a callback fills."""
import functools

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def record(sink, value):
    sink.append(value)


def fit(model, callback):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(14):
        loss = model(torch.randn(10, 22).to(device)).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            callback(model(torch.randn(64, 22).to(device)))


fit(torch.nn.Linear(22, 10).to(device), functools.partial(record, []))
