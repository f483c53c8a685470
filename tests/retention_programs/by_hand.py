"""Linear regression by hand: two tensors, no module, no optimizer."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
weight = torch.zeros(16, 8, device=device, requires_grad=True)
bias = torch.zeros(8, device=device, requires_grad=True)
residuals = []
for step in range(24):
    x, y = torch.randn(32, 16, device=device), torch.randn(32, 8, device=device)
    residual = x @ weight + bias - y
    residual.square().mean().backward()
    with torch.no_grad():
        for parameter in (weight, bias):
            parameter -= 0.1 * parameter.grad
            parameter.grad = None
    residuals.append(residual.detach())
