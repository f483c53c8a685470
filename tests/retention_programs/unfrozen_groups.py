"""Layers of a frozen model are given to the optimizer one after the other, from the top."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
layers = [nn.Linear(32, 32) for _ in range(8)]
model = nn.Sequential(*layers).to(device)
for layer in layers[:-1]:
    layer.requires_grad_(False)
optimizer = torch.optim.Adam(layers[-1].parameters(), lr=1e-3)
frozen = layers[:-1]
for step in range(44):
    if step and step % 5 == 0 and frozen:
        layer = frozen.pop()
        layer.requires_grad_(True)
        optimizer.add_param_group({"params": list(layer.parameters()), "lr": 1e-4})
    loss = model(torch.randn(8, 32, device=device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
