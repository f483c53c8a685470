"""Each checkpoint adds what it wants to save by a hook on state_dict()."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Checkpointer:
    def __init__(self, model):
        self.model = model
        self.written = 0

    def save(self, example):
        def add_example(module, state, prefix, metadata):
            state[prefix + "example"] = example

        self.model.register_state_dict_post_hook(add_example)
        state = self.model.state_dict()
        self.written += len(state)


model = nn.Linear(20, 6).to(device)
checkpoints = Checkpointer(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(24):
    x = torch.randn(16, 20, device=device)
    loss = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    checkpoints.save(x)
