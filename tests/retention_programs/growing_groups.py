"""Progressive prompts: each task adds a prompt to the optimizer, and none is taken away."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
backbone = nn.Linear(16, 16).to(device).requires_grad_(False)
head = nn.Linear(16, 4).to(device)
optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)


def new_prompt():
    prompt = nn.Parameter(torch.zeros(8, 16, device=device))
    optimizer.add_param_group({"params": [prompt], "lr": 1e-2})
    return prompt


for task in range(24):
    prompt = new_prompt()
    x = torch.randn(8, 16, device=device)
    loss = head(backbone(x + prompt)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
