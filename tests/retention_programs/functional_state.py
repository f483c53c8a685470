"""State in the functional manner: each step makes a new one from the old."""
from typing import NamedTuple

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class TrainState(NamedTuple):
    step: int
    best: float
    outputs: tuple


def train_step(state, model, optimizer):
    output = model(torch.randn(16, 10, device=device))
    loss = output.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    outputs = state.outputs + (output.detach(),)
    return state._replace(step=state.step + 1, best=min(state.best, loss.item()), outputs=outputs)


model = nn.Linear(10, 20).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
state = TrainState(0, float("inf"), ())
while state.step < 25:
    state = train_step(state, model, optimizer)
