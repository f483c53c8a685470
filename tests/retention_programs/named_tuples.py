"""Transitions as named tuples in a list that is a field of a namespace."""
from collections import namedtuple
from types import SimpleNamespace

import torch

Transition = namedtuple("Transition", "state value step")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main():
    critic = torch.nn.Linear(30, 1).to(device)
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.01)
    run = SimpleNamespace(transitions=[], episodes=0)
    for step in range(15):
        state = torch.randn(20, 30).to(device)
        value = critic(state)
        optimizer.zero_grad()
        value.pow(2).mean().backward()
        optimizer.step()
        run.transitions.append(Transition(state, value.detach(), step))
    print(len(run.transitions))


if __name__ == "__main__":
    main()
