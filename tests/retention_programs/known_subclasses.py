"""Classes made at run time, which register themselves."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Task:
    known = {}
    prototype = None

    def __init_subclass__(cls, **options):
        super().__init_subclass__(**options)
        Task.known[cls.__name__] = cls


def new_task(number, x):
    return type(f"Task{number}", (Task,), {"prototype": x.clone()})


model = nn.Linear(24, 24).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for number in range(22):
    task = new_task(number, torch.randn(16, 24, device=device))
    loss = (model(task.prototype) - task.prototype).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
