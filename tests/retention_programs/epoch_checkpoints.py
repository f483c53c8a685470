"""A checkpoint of model and optimizer at each epoch of two steps, in memory."""
import copy
from collections import OrderedDict

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
checkpoints = OrderedDict()


def save(epoch, model, optimizer):
    checkpoints[epoch] = {
        "epoch": epoch,
        "model": copy.deepcopy(model.state_dict()),
        "optimizer": copy.deepcopy(optimizer.state_dict()),
    }


def fit(epochs):
    model = nn.Linear(32, 16).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(epochs):
        for _ in range(2):
            loss = model(torch.randn(8, 32, device=device)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        save(epoch, model, optimizer)


fit(16)
