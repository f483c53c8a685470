"""Layers are unfrozen from the top, one every third step; their gradients are set to zero and stay."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = nn.Sequential(*(nn.Linear(24, 24) for _ in range(10))).to(device).requires_grad_(False)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for step in range(40):
    if step % 3 == 0 and step // 3 < len(model):
        model[-1 - step // 3].requires_grad_(True)
    loss = model(torch.randn(8, 24, device=device)).square().mean()
    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    optimizer.step()
