"""A keyword-only default is made once: every call writes into the same dict. It begins late, after the warm-up."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def remember(step, value, *, _known={}):
    _known[step] = value
    return len(_known)


model = torch.nn.Linear(9, 30).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(30):
    output = model(torch.randn(21, 9).to(device))
    optimizer.zero_grad()
    output.pow(2).mean().backward()
    optimizer.step()
    if step > 12:
        remember(step, output.detach())
