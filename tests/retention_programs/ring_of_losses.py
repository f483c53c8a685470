"""The last sixteen losses in a ring, as a profiler has them."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Ring:
    def __init__(self, length):
        self.cells = [None] * length
        self.at = 0

    def push(self, value):
        self.cells[self.at % len(self.cells)] = value
        self.at += 1

    def mean(self):
        known = [cell for cell in self.cells if cell is not None]
        return torch.stack(known).mean()


ring = Ring(16)
model = nn.Linear(20, 20).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(44):
    loss = model(torch.randn(16, 20, device=device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    ring.push(loss.detach())
    if step % 10 == 0:
        print(float(ring.mean()))
