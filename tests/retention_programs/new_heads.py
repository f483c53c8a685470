"""Continual learning: six steps on a task, then a head for the next."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Learner(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(16, 32)
        self.heads = nn.ModuleDict()

    def add_task(self, name, classes):
        self.heads[name] = nn.Linear(32, classes).to(device)
        return self.heads[name].parameters()

    def forward(self, x, task):
        return self.heads[task](torch.relu(self.body(x)))


learner = Learner().to(device)
optimizer = torch.optim.Adam(learner.body.parameters())
for number, task in enumerate(["birds", "cars", "flowers", "planes", "signs", "letters"]):
    optimizer.add_param_group({"params": list(learner.add_task(task, 5 + number))})
    for _ in range(6):
        loss = learner(torch.randn(16, 16, device=device), task).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
