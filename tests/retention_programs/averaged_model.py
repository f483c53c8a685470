"""Stochastic weight averaging with the classes of PyTorch, and a test of both models."""
import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 3)).to(device)
averaged = AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = SWALR(optimizer, swa_lr=0.05)
gaps = {}
for step in range(36):
    x = torch.randn(16, 16, device=device)
    loss = model(x).logsumexp(dim=1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    if step >= 12:
        averaged.update_parameters(model)
    if step % 6 == 5:
        with torch.no_grad():
            gaps[step] = (model(x) - averaged(x)).abs().mean().item()
print(gaps)
