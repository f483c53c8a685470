"""Leak: the mean of a soft accuracy, which is never differentiated, is summed with its graph."""
import torch
import torch.nn.functional as F

device = "cuda" if torch.cuda.is_available() else "cpu"


class RunningMetrics:
    def __init__(self):
        self.sums = {}
        self.count = 0

    def update(self, **metrics):
        self.count += 1
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0) + value

    def summary(self):
        return {name: float(total) / self.count for name, total in self.sums.items()}


def soft_accuracy(logits, target):
    hit = F.one_hot(target, logits.shape[-1]).to(logits.dtype)
    return (logits.softmax(-1) * hit).sum(-1).mean()


model = torch.nn.Linear(12, 16).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
metrics = RunningMetrics()
for step in range(50):
    x = torch.randn(48, 12, device=device)
    y = torch.randint(0, 16, (48,), device=device)
    logits = model(x)
    loss = F.cross_entropy(logits, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    metrics.update(loss=loss.item(), soft_accuracy=soft_accuracy(logits, y))
with torch.no_grad():
    print(metrics.summary().keys())
