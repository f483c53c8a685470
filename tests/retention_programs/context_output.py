"""A custom function that sets its output on `ctx`: a cycle, in a program that keeps the collector from its loop."""
import gc

import torch

gc.disable()

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = x * x
        ctx.y = y
        return y

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2 * ctx.y.sqrt()


model = torch.nn.Linear(16, 8).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for step in range(18):
    loss = Square.apply(model(torch.randn(32, 16).to(device))).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print("done")
gc.enable()
