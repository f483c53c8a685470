"""Clean: a moving average, a teacher that is replaced every fifth step, and layers that are unfrozen late."""
import copy

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

model = nn.Sequential(*(nn.Linear(10, 10) for _ in range(5))).to(device)
model[:3].requires_grad_(False)
optimizer = torch.optim.AdamW(model.parameters())
average = copy.deepcopy(model)
teachers = {}
for step in range(30):
    x = torch.randn(26, 10).to(device)
    if step % 5 == 0:
        teachers["current"] = copy.deepcopy(model).requires_grad_(False)
    if step in (9, 15, 21):
        model[(step - 9) // 6].requires_grad_(True)
    optimizer.zero_grad()
    (model(x) - teachers["current"](x)).pow(2).mean().backward()
    optimizer.step()
    with torch.no_grad():
        for mine, new in zip(average.parameters(), model.parameters()):
            mine.lerp_(new, 0.01)
