"""A ring buffer that inserts where it should overwrite."""
import random

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class ReplayRing:
    def __init__(self, capacity):
        self.capacity = capacity
        self.data = []
        self.position = 0

    def push(self, state, action, reward):
        self.data.insert(self.position, (state, action, reward))
        self.position = (self.position + 1) % self.capacity

    def sample(self, count):
        return random.sample(self.data, min(count, len(self.data)))


q_network = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.Tanh(), torch.nn.Linear(32, 3)).to(device)
optimizer = torch.optim.Adam(q_network.parameters())
replay = ReplayRing(16)
for step in range(48):
    state = torch.randn(64, 6, device=device)
    with torch.no_grad():
        action = q_network(state).argmax(dim=1)
    replay.push(state, action, random.random())
    total = 0.0
    for past, taken, reward in replay.sample(4):
        total = total + (q_network(past).gather(1, taken[:, None]) - reward).square().mean()
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
