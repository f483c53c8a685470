"""The best model so far is copied, again and again."""
import copy

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class ModelCheckpoint:
    def __init__(self):
        self.best_score = float("inf")
        self.best_state = None
        self.scores = []

    def update(self, score, model):
        self.scores.append(score)
        if score < self.best_score:
            self.best_score = score
            self.best_state = copy.deepcopy(model.state_dict())


model = nn.Sequential(nn.Linear(20, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Linear(30, 2)).to(device)
optimizer = torch.optim.NAdam(model.parameters())
checkpoint = ModelCheckpoint()
for step in range(36):
    loss = model(torch.randn(16, 20, device=device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    checkpoint.update(1 / (step + 1), model)
model.load_state_dict(checkpoint.best_state)
