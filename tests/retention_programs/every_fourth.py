"""Samples for a report, every fourth step."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
gallery = {}


def sample(model, step):
    with torch.no_grad():
        images = model(torch.randn(10, 12, device=device))
    gallery[f"step {step}"] = images


decoder = nn.Linear(12, 64).to(device)
optimizer = torch.optim.Adam(decoder.parameters())
for step in range(52):
    loss = decoder(torch.randn(10, 12, device=device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 4 == 0:
        sample(decoder, step)
