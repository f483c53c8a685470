"""A writer in the manner of TensorBoard that is never flushed."""
from collections import defaultdict
from typing import NamedTuple

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Event(NamedTuple):
    step: int
    values: torch.Tensor


class SummaryWriter:
    def __init__(self, folder):
        self.folder = folder
        self.events = defaultdict(list)

    def add_histogram(self, tag, values, step):
        self.events[tag].append(Event(step, values))

    def flush(self):
        self.events.clear()


def log_gradients(writer, model, step):
    for name, parameter in model.named_parameters():
        writer.add_histogram(f"gradients/{name}", parameter.grad.clone(), step)


def main():
    model = torch.nn.Linear(64, 32).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    writer = SummaryWriter("runs/1")
    for step in range(22):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 64, device=device)).sum()
        loss.backward()
        log_gradients(writer, model, step)
        optimizer.step()


if __name__ == "__main__":
    main()
