"""A meter for each epoch, whose values turn out to be those of the class."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Meter:
    values = []

    def __init__(self, name):
        self.name = name

    def update(self, value):
        self.values.append(value)

    @property
    def average(self):
        return sum(float(value.mean()) for value in self.values) / len(self.values)


model = nn.Linear(12, 12).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(4):
    meter = Meter("residual")
    for _ in range(7):
        residual = model(torch.randn(32, 12, device=device))
        optimizer.zero_grad()
        residual.square().mean().backward()
        optimizer.step()
        meter.update(residual.detach())
    print(meter.name, meter.average)
