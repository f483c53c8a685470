"""Clean: a heap of the five best outputs, and a copy of the best model so far."""
import copy
import heapq

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

best = []
champion, champions_score = None, float("-inf")
model = torch.nn.Linear(16, 4).to(device)
optimizer = torch.optim.Adam(model.parameters())
for step in range(26):
    output = model(torch.randn(20, 16).to(device))
    optimizer.zero_grad()
    output.pow(2).mean().backward()
    optimizer.step()
    score = float(step * 11 % 17)
    entry = (score, step, output.detach())
    if len(best) < 5:
        heapq.heappush(best, entry)
    else:
        heapq.heappushpop(best, entry)
    if score > champions_score:
        champion, champions_score = copy.deepcopy(model), score
