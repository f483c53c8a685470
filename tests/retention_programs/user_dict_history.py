"""A history that is a dictionary of its own kind."""
from collections import UserDict

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class History(UserDict):
    def log(self, **values):
        for name, value in values.items():
            self.data.setdefault(name, []).append(value)


history = History()
model = nn.Linear(20, 16).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(25):
    logits = model(torch.randn(20, 20, device=device))
    loss = logits.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    history.log(loss=loss.item(), logits=logits.detach())
