"""A search tree that is never pruned: the path of each step goes on from the last node."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Node:
    def __init__(self, state, parent=None):
        self.state = state
        self.parent = parent
        self.children = {}
        self.visits = 0

    def expand(self, action, state):
        self.children[action] = Node(state, self)
        return self.children[action]


class Planner:
    def __init__(self, model):
        self.model = model
        self.root = Node(torch.zeros(8, 16, device=device))
        self.current = self.root

    def advance(self, action):
        with torch.no_grad():
            state = self.model(self.current.state)
        self.current = self.current.expand(action, state)
        self.current.visits += 1


model = nn.Linear(16, 16).to(device)
planner = Planner(model)
optimizer = torch.optim.Adam(model.parameters())
for step in range(30):
    planner.advance(step % 3)
    loss = model(planner.current.state).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
