"""Forward hooks, registered once, collect outputs in lists of their closures."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def watch(layer):
    seen = []

    def hook(module, inputs, output):
        seen.append(output)

    return layer.register_forward_hook(hook)


model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3)).to(device)
handles = [watch(model[1])]
optimizer = torch.optim.AdamW(model.parameters())
for step in range(16):
    optimizer.zero_grad()
    model(torch.randn(33, 8).to(device)).pow(2).mean().backward()
    optimizer.step()
for handle in handles:
    handle.remove()
