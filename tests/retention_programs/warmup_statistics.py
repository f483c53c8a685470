"""The first outputs are kept to calibrate; then the calibration is over."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Calibrated(nn.Module):
    def __init__(self, model, observations=14):
        super().__init__()
        self.model = model
        self.observations = observations
        self.observed = []

    def forward(self, x):
        output = self.model(x)
        if len(self.observed) < self.observations:
            self.observed.append(output.detach())
        return output


model = Calibrated(nn.Sequential(nn.Linear(10, 40), nn.ReLU())).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(40):
    loss = model(torch.randn(16, 10, device=device)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
