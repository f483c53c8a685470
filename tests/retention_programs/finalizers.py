"""Each batch registers a finalizer on the model, and its argument lives until the model dies."""
import weakref

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def say_goodbye(activations):
    print("released", tuple(activations.shape))


def train(steps):
    model = torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(steps):
        activations = model[:2](torch.randn(25, 10).to(device))
        weakref.finalize(model, say_goodbye, activations.detach()).atexit = False
        optimizer.zero_grad()
        model[2](activations).pow(2).mean().backward()
        optimizer.step()


train(18)
