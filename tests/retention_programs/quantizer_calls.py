"""A custom function that logs its inputs on its own class."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Quantize(torch.autograd.Function):
    levels = 16
    calls = []

    @staticmethod
    def forward(ctx, x, scale):
        Quantize.calls.append(x)
        ctx.scale = scale
        return (x / scale).round() * scale

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


class QuantizedNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(20, 40)
        self.second = nn.Linear(40, 4)

    def forward(self, x):
        return self.second(Quantize.apply(self.first(x), 0.05))


model = QuantizedNet().to(device)
optimizer = torch.optim.Adam(model.parameters())
for _ in range(22):
    loss = model(torch.randn(16, 20).to(device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
