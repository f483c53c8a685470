"""A metric with registered states, in the manner of torchmetrics, that is computed but not reset."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Metric(nn.Module):
    def __init__(self):
        super().__init__()
        self._defaults = {}

    def add_state(self, name, default):
        self._defaults[name] = default
        setattr(self, name, list(default) if isinstance(default, list) else default)

    def reset(self):
        for name, default in self._defaults.items():
            setattr(self, name, list(default))

    def forward(self, *args):
        self.update(*args)
        return self.compute()


class RankCorrelation(Metric):
    def __init__(self):
        super().__init__()
        self.add_state("preds", [])
        self.add_state("target", [])

    def update(self, preds, target):
        self.preds.append(preds.detach())
        self.target.append(target)

    def compute(self):
        return (self.preds[-1] - self.target[-1]).abs().mean()


model = nn.Linear(12, 10).to(device)
metric = RankCorrelation().to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    for _ in range(8):
        x, y = torch.randn(64, 12).to(device), torch.randn(64, 10).to(device)
        output = model(x)
        loss = (output - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        metric.update(output, y)
    print(epoch, float(metric.compute()))
