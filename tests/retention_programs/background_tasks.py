"""Tasks are kept so that they are not collected while they run, and then for ever."""
import asyncio

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
background = set()


async def summarize(output):
    await asyncio.sleep(0)
    return output.abs()


def spawn(coroutine):
    task = asyncio.create_task(coroutine)
    background.add(task)
    return task


async def train(model, steps):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        output = model(torch.randn(8, 32, device=device))
        optimizer.zero_grad()
        output.square().mean().backward()
        optimizer.step()
        spawn(summarize(output.detach()))
        await asyncio.sleep(0)


asyncio.run(train(nn.Linear(32, 32).to(device), 24))
