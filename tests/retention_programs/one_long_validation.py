"""One epoch of six steps, and a validation of 24 calls whose outputs stay on the device until its end."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = nn.Sequential(nn.Linear(20, 32), nn.Dropout(0.1), nn.Linear(32, 40)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(6):
    optimizer.zero_grad()
    model(torch.randn(16, 20, device=device)).square().mean().backward()
    optimizer.step()


@torch.no_grad()
def validate():
    model.eval()
    outputs = []
    for step in range(24):
        outputs.append(model(torch.randn(48, 20, device=device)))
    return torch.cat(outputs).mean().item()


print(validate())
