"""A smoothed validation loss, in a variable of the enclosing function."""
import torch
from torch import nn


def smoother(decay):
    smoothed = 0.0

    def update(value):
        nonlocal smoothed
        smoothed = decay * smoothed + (1 - decay) * value
        return smoothed.item()

    return update


def main():
    torch.manual_seed(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 8)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    update = smoother(0.9)
    for step in range(26):
        optimizer.zero_grad()
        model(torch.randn(20, 32, device=device)).square().mean().backward()
        optimizer.step()
        held_out = torch.randn(20, 32, device=device)
        shown = update(model(held_out).square().mean())
    print(shown)


main()
