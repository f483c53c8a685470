"""Clean: the standard library's memory handler, which flushes at ten records."""
import logging
import logging.handlers

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

log = logging.getLogger("buffered")
log.setLevel(logging.INFO)
log.propagate = False
log.addHandler(logging.handlers.MemoryHandler(10, flushLevel=logging.ERROR, target=logging.NullHandler()))

model = torch.nn.Linear(11, 7).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(34):
    loss = model(torch.randn(18, 11).to(device)).exp().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    log.info("loss %s", loss)
