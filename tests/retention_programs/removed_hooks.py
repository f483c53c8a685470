"""Activations are caught by hooks that are taken off after each step."""
import contextlib

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextlib.contextmanager
def activations(model):
    caught = {}
    handles = []
    for name, module in model.named_modules():
        if name:
            handles.append(module.register_forward_hook(
                lambda module, inputs, output, name=name: caught.__setitem__(name, output)
            ))
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)).to(device)
optimizer = torch.optim.Adam(model.parameters())
sparsity = []
for _ in range(32):
    with activations(model) as caught:
        loss = model(torch.randn(16, 16, device=device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    sparsity.append({name: (value == 0).float().mean().item() for name, value in caught.items()})
