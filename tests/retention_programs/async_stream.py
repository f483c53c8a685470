"""An asynchronous generator that keeps what it has sent, to send it again after an error."""
import asyncio

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


async def stream(count):
    unacknowledged = {}
    for number in range(count):
        batch = torch.randn(32, 16, device=device)
        unacknowledged[number] = batch
        yield number, batch
        await asyncio.sleep(0)


async def main():
    model = nn.Linear(16, 4).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    async for number, batch in stream(26):
        loss = model(batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


asyncio.run(main())
