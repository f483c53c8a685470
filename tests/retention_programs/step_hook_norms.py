"""Gradient norms noted in a hook of the optimizer."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def watch_norms(optimizer):
    norms = []

    def note(optimizer, args, kwargs):
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norms.append(torch.stack([gradient.norm() for gradient in gradients]))

    optimizer.register_step_post_hook(note)
    return norms


model = nn.Sequential(nn.Linear(30, 30), nn.Sigmoid(), nn.Linear(30, 2)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
history = watch_norms(optimizer)
for step in range(26):
    loss = model(torch.randn(16, 30, device=device)).logsumexp(dim=1).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
print(len(history))
