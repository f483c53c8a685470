"""Two things are kept, in two places."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Experiment:
    def __init__(self):
        self.model = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16)).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.records = {"loss": [], "weights": []}
        self.inputs = []

    def step(self):
        x = torch.randn(64, 16, device=device)
        loss = self.model(x).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.records["loss"].append(loss.item())
        self.records["weights"].append(self.model[0].weight.detach().clone())
        self.inputs += [x]


experiment = Experiment()
for _ in range(25):
    experiment.step()
