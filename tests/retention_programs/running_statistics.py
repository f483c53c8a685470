"""Clean: running averages, a ring of the last batches, and results that leave the device."""
import collections

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = torch.nn.Linear(12, 5).to(device)
optimizer = torch.optim.Adam(model.parameters())
average = torch.zeros(5, device=device)
ring = collections.OrderedDict()
numbers = []
for step in range(26):
    output = model(torch.randn(30, 12).to(device))
    loss = output.pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    average = 0.9 * average + 0.1 * output.detach().mean(0)
    ring[step] = output.detach()
    if len(ring) > 10:
        ring.popitem(last=False)
    numbers.append(loss.item())
print(len(numbers), average.shape)
