"""Leak: a schedule remembers in its closure what it has seen, by making its list anew."""
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def plateau_schedule(patience):
    margins = []

    def observe(margin):
        nonlocal margins
        margins = margins + [margin]

    def factor(epoch):
        if len(margins) < patience:
            return 1.0
        recent = torch.cat(margins[-patience:])
        return 0.9 if recent.std() < 1e-3 else 1.0

    return observe, factor


net = nn.Linear(50, 8).to(device)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
observe, factor = plateau_schedule(patience=5)
scheduler = LambdaLR(optimizer, lr_lambda=factor)
for step in range(40):
    logits = net(torch.randn(100, 50, device=device))
    top = logits.topk(2, dim=1).values
    loss = logits.logsumexp(1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    observe((top[:, 0] - top[:, 1]).detach())
    scheduler.step()
