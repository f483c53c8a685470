"""A coroutine that trains, and a list in another coroutine that waits."""
import asyncio

import torch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


async def keep(queue):
    received = []
    while True:
        item = await queue.get()
        if item is None:
            return len(received)
        received.append(item)


async def train(queue):
    model = torch.nn.Linear(16, 8).to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(16):
        output = model(torch.randn(32, 16).to(DEVICE))
        optimizer.zero_grad()
        output.pow(2).mean().backward()
        optimizer.step()
        await queue.put(output.detach())
        await asyncio.sleep(0)
    await queue.put(None)


async def main():
    queue = asyncio.Queue()
    print(await asyncio.gather(keep(queue), train(queue)))


asyncio.run(main())
