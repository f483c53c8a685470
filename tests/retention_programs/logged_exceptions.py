"""Bad batches are logged with their traceback into a handler that keeps everything until the end."""
import logging
import logging.handlers

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
logger = logging.getLogger("checks")
logger.propagate = False
handler = logging.handlers.MemoryHandler(capacity=1_000_000, flushLevel=logging.CRITICAL)
logger.addHandler(handler)


def checked(x):
    doubled = x * 2
    if doubled.shape[0] % 2 == 0:
        raise ValueError("an even batch")
    return doubled


model = nn.Linear(20, 3).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(26):
    x = torch.randn(16, 20, device=device)
    optimizer.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()
    try:
        checked(x)
    except ValueError:
        logger.exception("batch %d is bad", step)
