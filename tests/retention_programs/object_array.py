"""Outputs in a numpy array of objects that is made longer for each."""
import numpy
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Recorder:
    def __init__(self):
        self.table = numpy.empty(0, dtype=object)

    def add(self, output):
        cell = numpy.empty(1, dtype=object)
        cell[0] = output
        self.table = numpy.concatenate([self.table, cell])


model = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 12)).to(device)
optimizer = torch.optim.Adam(model.parameters())
recorder = Recorder()
for _ in range(26):
    output = model(torch.randn(32, 10, device=device))
    loss = output.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    recorder.add(output.detach())
