"""Batches are made by a task ahead of time, at most four of them."""
import asyncio

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


async def produce(queue, count):
    for _ in range(count):
        await queue.put(torch.randn(64, 16).to(device))
    await queue.put(None)


async def main():
    queue = asyncio.Queue(maxsize=4)
    producer = asyncio.create_task(produce(queue, 34))
    model = nn.Linear(16, 4).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    while (batch := await queue.get()) is not None:
        loss = model(batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    await producer


asyncio.run(main())
