"""A queue of negative keys that is a buffer of the model, as in MoCo, but without an end."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Contrast(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.encoder = nn.Linear(24, width)
        self.register_buffer("queue", torch.randn(32, width))

    @torch.no_grad()
    def enqueue(self, keys):
        self.queue = torch.cat([self.queue, keys])

    def forward(self, x):
        query = self.encoder(x)
        logits = query @ self.queue.t()
        self.enqueue(query)
        return logits


model = Contrast(16).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for step in range(40):
    loss = model(torch.randn(32, 24, device=device)).logsumexp(dim=1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
