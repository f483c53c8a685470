"""Sums that are objects: each addition makes one that holds both sides."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Expression:
    def __init__(self, value=None, left=None, right=None):
        self.value, self.left, self.right = value, left, right

    def __add__(self, other):
        return Expression(left=self, right=other)

    def evaluate(self):
        if self.value is not None:
            return self.value
        return self.left.evaluate() + self.right.evaluate()


model = nn.Linear(8, 64).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
total = Expression(torch.zeros(16, 64, device=device))
for _ in range(28):
    output = model(torch.randn(16, 8, device=device))
    optimizer.zero_grad()
    output.square().mean().backward()
    optimizer.step()
    total = total + Expression(output.detach())
print(total.evaluate().shape)
