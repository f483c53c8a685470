"""Points to roll back to, every third step; the oldest is never dropped."""
import copy

import torch
from torch import nn


class Rollback:
    def __init__(self, optimizer, every):
        self.optimizer, self.every, self.points = optimizer, every, []

    def after_step(self, step):
        if step % self.every == 0:
            self.points.append(copy.deepcopy(self.optimizer.state_dict()))


device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = nn.Linear(16, 24).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
rollback = Rollback(optimizer, every=3)
for step in range(48):
    optimizer.zero_grad()
    model(torch.randn(8, 16, device=device)).square().mean().backward()
    optimizer.step()
    rollback.after_step(step)
