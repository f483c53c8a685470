"""Predictions go to the host at once; losses are numbers."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Collector:
    def __init__(self):
        self.rows = []
        self.total = 0.0

    def add(self, output, loss):
        self.total += loss.item()
        self.rows.append(output.detach().cpu().numpy().tolist())


collector = Collector()
model = nn.Linear(10, 4).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(30):
    output = model(torch.randn(16, 10, device=device))
    loss = output.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    collector.add(output, loss)
