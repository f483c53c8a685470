"""Statistics of each layer and kind, in dictionaries that make themselves."""
from collections import defaultdict

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
statistics = defaultdict(lambda: defaultdict(list))


def watch(name):
    def hook(module, inputs, output):
        statistics[name]["mean"].append(output.detach().mean(dim=0))
        statistics[name]["count"].append(output.shape[0])

    return hook


model = nn.Sequential(nn.Linear(24, 128), nn.ReLU(), nn.Linear(128, 256)).to(device)
model[0].register_forward_hook(watch("first"))
model[2].register_forward_hook(watch("second"))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(24):
    loss = model(torch.randn(16, 24, device=device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
