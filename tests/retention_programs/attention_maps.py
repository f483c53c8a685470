"""Each block keeps its attention for a picture; nobody makes the picture."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.maps = []

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        attention = (q @ k.transpose(1, 2)).softmax(dim=-1)
        self.maps.append(attention.detach())
        return x + attention @ v


class Encoder(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


encoder = Encoder(16, 4).to(device)
optimizer = torch.optim.AdamW(encoder.parameters())
for _ in range(24):
    loss = encoder(torch.randn(2, 20, 16, device=device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
