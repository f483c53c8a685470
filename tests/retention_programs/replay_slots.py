"""Clean: a ring of slots, allocated as a list of None, which the run does not fill."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Replay:
    def __init__(self, capacity):
        self.slots = [None] * capacity
        self.position = 0

    def push(self, x):
        self.slots[self.position % len(self.slots)] = x
        self.position += 1


replay = Replay(200)
model = torch.nn.Linear(30, 2).to(device)
optimizer = torch.optim.Adam(model.parameters())
for step in range(28):
    x = torch.randn(16, 30).to(device)
    replay.push(x)
    optimizer.zero_grad()
    model(x).pow(2).mean().backward()
    optimizer.step()
