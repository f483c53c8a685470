"""A memory of the last sixty-four positions, carried from segment to segment."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Recurrent(nn.Module):
    def __init__(self, width, length):
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.length = length
        self.memory = None

    def forward(self, x):
        context = x if self.memory is None else torch.cat([self.memory, x], dim=1)
        self.memory = context[:, -self.length:].detach()
        return (self.query(x) @ self.key(context).transpose(1, 2)).softmax(dim=-1) @ context


model = Recurrent(16, 64).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for segment in range(44):
    loss = model(torch.randn(2, 4, 16, device=device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
