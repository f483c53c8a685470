"""The last seven gradients, under the remainder of the step's number."""
import torch
from torch import nn


def main():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Linear(24, 24).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    recent = {}
    for step in range(52):
        optimizer.zero_grad()
        model(torch.randn(8, 24, device=device)).square().mean().backward()
        recent[step % 7] = model.weight.grad.clone()
        optimizer.step()
    print(torch.stack(list(recent.values())).std().item())


main()
