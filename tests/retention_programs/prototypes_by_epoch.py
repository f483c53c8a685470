"""Leak: a module stores the class prototypes of each epoch of three steps, in a dict by epoch."""
import torch
from torch import nn


class PrototypeNet(nn.Module):
    def __init__(self, classes=9, width=40):
        super().__init__()
        self.embed = nn.Linear(28, width)
        self.classify = nn.Linear(width, classes)
        self.prototypes = {}

    def forward(self, x):
        return self.classify(self.embed(x).relu())

    @torch.no_grad()
    def store(self, epoch, x):
        self.prototypes[epoch] = self.embed(x)


def fit(epochs=18, steps=3):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = PrototypeNet().to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for epoch in range(epochs):
        net.train()
        for _ in range(steps):
            x = torch.randn(27, 28, device=device)
            loss = net(x).var()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        net.store(epoch, x)


fit()
