"""A script of a course: each sample becomes a variable of its own."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
net = nn.Linear(16, 32).to(device)
opt = torch.optim.SGD(net.parameters(), lr=0.01)
for step in range(30):
    out = net(torch.randn(14, 16, device=device))
    opt.zero_grad()
    out.square().mean().backward()
    opt.step()
    globals()[f"sample_{step}"] = out.detach()
