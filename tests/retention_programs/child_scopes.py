"""Results in nested scopes: each step opens a new one above the last."""
from collections import ChainMap

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def step_once(model, optimizer, scope):
    x = torch.randn(20, 16, device=device)
    logits = model(x)
    loss = logits.square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return scope.new_child({"logits": logits.detach(), "loss": loss.item()})


def main():
    model = nn.Linear(16, 32).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scope = ChainMap({"loss": 0.0})
    for _ in range(26):
        scope = step_once(model, optimizer, scope)
    print(scope["loss"])


main()
