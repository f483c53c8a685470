"""Clean-up is put on a stack that is only taken down at the end of the run."""
import contextlib

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def release(tensor):
    tensor.zero_()


with contextlib.ExitStack() as stack:
    model = nn.Linear(24, 8).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(25):
        workspace = torch.empty(40, 24, device=device).normal_()
        stack.callback(release, workspace)
        loss = model(workspace).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
