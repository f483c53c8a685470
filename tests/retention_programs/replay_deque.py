"""Clean: a replay buffer of 10,000 transitions that is far from full."""
from collections import deque

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

memory = deque(maxlen=10_000)
model = torch.nn.Linear(4, 2).to(device)
optimizer = torch.optim.Adam(model.parameters())
state = torch.randn(40, 4).to(device)
for step in range(30):
    following = torch.randn(40, 4).to(device)
    memory.append((state, step % 2, 1.0, following))
    state = following
    optimizer.zero_grad()
    model(memory[step // 2][0]).pow(2).mean().backward()
    optimizer.step()
print(len(memory))
