"""Outputs of this stretch and of the one before it, which change places every ten steps."""
import torch
from torch import nn


class Generations:
    def __init__(self):
        self.young, self.old = [], []

    def add(self, output):
        self.young.append(output)
        if len(self.young) == 10:
            self.young, self.old = [], self.young


device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
generations = Generations()
model = nn.Linear(8, 40).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(57):
    output = model(torch.randn(12, 8, device=device))
    optimizer.zero_grad()
    output.square().mean().backward()
    optimizer.step()
    generations.add(output.detach())
