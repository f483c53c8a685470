"""Clean: a metric gathers the predictions of an epoch and is reset at the beginning of the next."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class EpochMetric:
    def __init__(self, name):
        self.name = name
        self.reset()

    def reset(self):
        self.preds, self.targets = [], []

    def __call__(self, preds, targets):
        self.preds.append(preds.detach())
        self.targets.append(targets)

    def compute(self):
        return (torch.cat(self.preds) - torch.cat(self.targets)).abs().mean().item()


model = nn.Sequential(nn.Linear(7, 14), nn.GELU(), nn.Linear(14, 1)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
mae = EpochMetric("mae")
for epoch in range(3):
    mae.reset()
    for _ in range(25):
        x = torch.randn(200, 7, device=device)
        y = x.sum(1, keepdim=True)
        pred = model(x)
        optimizer.zero_grad()
        nn.functional.l1_loss(pred, y).backward()
        optimizer.step()
        mae(pred, y)
    print(epoch, mae.name, round(mae.compute(), 3))
