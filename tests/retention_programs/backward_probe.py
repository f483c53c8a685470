"""Gradients of layer outputs, gathered with full backward hooks to look at them later."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class GradientProbe:
    def __init__(self, model):
        self.gradients = {}
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear):
                self.gradients[name] = []
                module.register_full_backward_hook(self.hook(name))

    def hook(self, name):
        def remember(module, grad_input, grad_output):
            self.gradients[name].append(grad_output[0])

        return remember


model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 8)).to(device)
probe = GradientProbe(model)
optimizer = torch.optim.Adam(model.parameters())
criterion = nn.CrossEntropyLoss()
for step in range(24):
    x = torch.randn(64, 10, device=device, requires_grad=True)
    y = torch.randint(0, 8, (64,), device=device)
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
