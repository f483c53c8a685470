"""L-BFGS, which keeps its last hundred directions."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
x, y = torch.randn(64, 10, device=device), torch.randn(64, 1, device=device)
model = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 1)).to(device)
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)


def closure():
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(x), y)
    loss.backward()
    return loss


losses = []
for step in range(30):
    losses.append(float(optimizer.step(closure)))
print(len(losses))
