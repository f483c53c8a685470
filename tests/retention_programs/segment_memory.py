"""Recurrence over segments, as in Transformer-XL, with a memory that is never cut."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.memory = None

    def forward(self, x):
        context = x if self.memory is None else torch.cat([self.memory, x], dim=1)
        scores = self.query(x) @ self.key(context).transpose(1, 2)
        self.memory = context.detach()
        return scores.softmax(dim=-1) @ context


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attention = Attention(width)
        self.feed_forward = nn.Linear(width, width)

    def forward(self, x):
        return x + self.feed_forward(self.attention(x))


model = nn.Sequential(Block(16)).to(device)
optimizer = torch.optim.Adam(model.parameters())
for segment in range(32):
    loss = model(torch.randn(4, 8, 16, device=device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
