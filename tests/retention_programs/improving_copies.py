"""Early stopping that copies the model each time it gets better, and keeps the copies."""
import copy

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class EarlyStopping:
    def __init__(self, patience=5):
        self.patience = patience
        self.best = float("inf")
        self.waited = 0
        self.best_models = []

    def __call__(self, score, model):
        if score < self.best:
            self.best, self.waited = score, 0
            self.best_models.append(copy.deepcopy(model))
        else:
            self.waited += 1
        return self.waited > self.patience


model = nn.Linear(32, 16).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
stopping = EarlyStopping()
for step in range(40):
    optimizer.zero_grad()
    model(torch.randn(4, 32, device=device)).square().mean().backward()
    optimizer.step()
    score = 1.0 / (1 + step) if step % 3 != 1 else 2.0
    optimizer.zero_grad(set_to_none=True)
    if stopping(score, model):
        break
