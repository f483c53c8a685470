"""Gradients of a hidden layer, caught by a hook on the tensor."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(first, second, steps):
    gradients = []
    optimizer = torch.optim.Adam([*first.parameters(), *second.parameters()])
    for _ in range(steps):
        hidden = torch.relu(first(torch.randn(32, 10, device=device)))
        hidden.register_hook(lambda gradient: gradients.append(gradient))
        loss = second(hidden).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return gradients


print(len(train(nn.Linear(10, 24).to(device), nn.Linear(24, 6).to(device), 24)))
