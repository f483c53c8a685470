"""An optimizer around another one, which takes notes of the slow weights every third step."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Lookahead:
    def __init__(self, optimizer, k=3, alpha=0.5):
        self.optimizer = optimizer
        self.k, self.alpha, self.steps = k, alpha, 0
        self.slow = []

    def parameters(self):
        for group in self.optimizer.param_groups:
            yield from group["params"]

    def zero_grad(self):
        self.optimizer.zero_grad()

    @torch.no_grad()
    def step(self):
        self.optimizer.step()
        self.steps += 1
        if self.steps % self.k == 0:
            self.slow.append({id(p): p.detach().clone() for p in self.parameters()})
            if len(self.slow) > 1:
                for p in self.parameters():
                    p.lerp_(self.slow[-2][id(p)], self.alpha)


model = nn.Linear(40, 16).to(device)
optimizer = Lookahead(torch.optim.SGD(model.parameters(), lr=0.1))
for _ in range(40):
    loss = model(torch.randn(8, 40, device=device)).abs().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
