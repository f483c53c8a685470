"""A policy that balances a pole of its own making; every episode's length hangs on values, so it wants real ones."""

from collections import deque

import torch
from torch import nn
from torch.distributions import Categorical
from torch.nn import functional


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(2, 128)
        self.dropout = nn.Dropout(p=0.6)
        self.affine2 = nn.Linear(128, 2)

    def forward(self, x):
        return functional.softmax(self.affine2(functional.relu(self.dropout(self.affine1(x)))), dim=1)


def moved(state, action):
    """Angle and speed of a pole that falls unless it is pushed back."""
    angle, speed = state
    speed = speed + 0.1 * angle + (0.1 if action else -0.1)
    return angle + speed, speed


def main():
    torch.manual_seed(543)
    device = torch.device("cuda")
    policy = Policy().to(device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
    lengths = []
    for _ in range(5):
        state, saved, rewards = (0.0, 0.0), [], []
        while abs(state[0]) < 1:
            distribution = Categorical(policy(torch.tensor([state], device=device)))
            action = distribution.sample()
            saved.append(distribution.log_prob(action))
            state = moved(state, action.item())
            rewards.append(1.0)
        returns = deque()
        for reward in reversed(rewards):
            returns.appendleft(reward + 0.99 * (returns[0] if returns else 0.0))
        returns = torch.tensor(list(returns), device=device)
        returns = (returns - returns.mean()) / (returns.std() + 1e-6)
        loss = torch.cat([-log_prob * value for log_prob, value in zip(saved, returns)]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        lengths.append(len(rewards))
    assert all(length > 2 for length in lengths)
    print(lengths)


if __name__ == "__main__":
    main()
