"""Leak: the memory of an agent is a deque, as in the tutorial, but nobody gave it a length."""
import random
from collections import deque

import torch
from torch import nn, optim

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Transition:
    __slots__ = ("state", "action", "reward", "next_state")

    def __init__(self, state, action, reward, next_state):
        self.state = state
        self.action = action
        self.reward = reward
        self.next_state = next_state


class Agent:
    def __init__(self, n_obs, n_actions):
        self.memory = deque()
        self.policy = nn.Sequential(nn.Linear(n_obs, 32), nn.ReLU(), nn.Linear(32, n_actions)).to(device)
        self.optimizer = optim.AdamW(self.policy.parameters(), lr=3e-4)

    def remember(self, *values):
        self.memory.append(Transition(*values))

    def learn(self, batch_size=4):
        if len(self.memory) < batch_size:
            return
        batch = random.sample(self.memory, batch_size)
        states = torch.stack([t.state for t in batch])
        rewards = torch.tensor([t.reward for t in batch], device=device)
        loss = (self.policy(states).amax(dim=1) - rewards).abs().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


agent = Agent(n_obs=300, n_actions=3)
state = torch.randn(300, device=device)
for t in range(80):
    with torch.no_grad():
        agent.policy(state).argmax()
    next_state = torch.randn(300, device=device)
    agent.remember(state, t % 3, 1.0, next_state)
    state = next_state
    agent.learn()
