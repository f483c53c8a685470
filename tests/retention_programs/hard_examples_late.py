"""After the warm-up the hard examples are gathered."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Miner:
    def __init__(self, warmup):
        self.warmup = warmup
        self.examples = []

    def consider(self, step, x):
        if step < self.warmup:
            return
        self.examples.extend(x.unbind(0))


model = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
miner = Miner(warmup=15)
for step in range(36):
    x = torch.randn(16, 20, device=device)
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    miner.consider(step, x)
