"""The meter of many tutorials: its sum takes the loss as it is."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class AverageMeter:
    def __init__(self):
        self.reset()

    def reset(self):
        self.val, self.sum, self.count = 0, 0, 0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n


losses = AverageMeter()
model = nn.Linear(10, 5).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(45):
    x = torch.randn(8, 10, device=device)
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.update(loss, x.size(0))
