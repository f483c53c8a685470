"""Features of all batches are computed once, then a head is trained on them."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
backbone = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 48)).to(device).requires_grad_(False)
features = []
for _ in range(80):
    features.append(backbone(torch.randn(16, 32, device=device)))

head = nn.Linear(48, 4).to(device)
optimizer = torch.optim.Adam(head.parameters())
for step in range(60):
    optimizer.zero_grad()
    head(features[step % len(features)]).square().mean().backward()
    optimizer.step()
