"""Leak: the test of a recurrent network carries its state from window to window, with the graph of all before."""
import argparse

import torch
from torch import nn


class Forecaster(nn.Module):
    def __init__(self, n_in, n_hidden):
        super().__init__()
        self.i2h = nn.Linear(n_in, n_hidden)
        self.h2h = nn.Linear(n_hidden, n_hidden)
        self.out = nn.Linear(n_hidden, n_in)

    def forward(self, x, state):
        state = torch.tanh(self.i2h(x) + self.h2h(state))
        return self.out(state), state


def train(model, optimizer, args):
    for _ in range(args.windows):
        state = torch.zeros(16, 32, device=args.device)
        pred, state = model(torch.randn(16, 24, device=args.device), state)
        optimizer.zero_grad()
        pred.abs().mean().backward()
        optimizer.step()


def test(model, args):
    model.eval()
    error = 0.0
    state = torch.zeros(16, 32, device=args.device)
    for _ in range(args.test_windows):
        x = torch.randn(16, 24, device=args.device)
        pred, state = model(x, state)
        error += (pred - x).abs().mean().item()
    return error / args.test_windows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=10)
    parser.add_argument("--test-windows", type=int, default=60)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    net = Forecaster(24, 32).to(args.device)
    train(net, torch.optim.Adam(net.parameters()), args)
    print("MAE", test(net, args))
