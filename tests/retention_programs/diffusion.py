"""A sampler that returns the whole trajectory of each of four samples."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Denoiser(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width + 1, 64), nn.SiLU(), nn.Linear(64, width))

    def forward(self, x, t):
        return self.net(torch.cat([x, t.expand(x.shape[0], 1)], dim=1))


@torch.no_grad()
def sample(model, steps, count, width):
    x = torch.randn(count, width, device=device)
    trajectory = [x]
    for step in reversed(range(steps)):
        t = torch.full((1, 1), step / steps, device=device)
        x = x - model(x, t) / steps
        trajectory.append(x)
    return torch.stack(trajectory)


model = Denoiser(12).to(device).eval()
for _ in range(4):
    print(sample(model, 25, 10, 12).shape)
