"""A logging handler keeps its records, and each record the tensor that it was given to format."""
import logging

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Trail(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


log = logging.getLogger("training")
log.setLevel(logging.INFO)
log.propagate = False
log.addHandler(Trail())

model = torch.nn.Linear(24, 10).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(18):
    output = model(torch.randn(40, 24).to(device))
    optimizer.zero_grad()
    output.exp().mean().backward()
    optimizer.step()
    log.info("step %d: %s", step, output)
