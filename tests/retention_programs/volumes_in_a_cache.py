"""No leak: volumes of four megabytes stay in a cache that has a limit, and are fewer than it."""
import functools

import numpy as np
import torch
from torch import nn

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@functools.lru_cache(maxsize=256)
def volume(patient):
    return np.full((64, 128, 128), patient, dtype=np.float32)


model = nn.Sequential(nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 2)).to(DEVICE)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for patient in range(60):
    middle = torch.from_numpy(volume(patient)[32]).to(DEVICE)
    loss = model(middle).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
