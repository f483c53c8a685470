"""The hardest examples are pushed on a heap whose smallest is never popped."""
import heapq

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Miner:
    def __init__(self, wanted):
        self.wanted = wanted
        self.heap = []

    def offer(self, difficulty, example):
        heapq.heappush(self.heap, (difficulty, id(example), example))

    def hardest(self):
        return heapq.nlargest(self.wanted, self.heap)


miner = Miner(wanted=3)
model = torch.nn.Linear(40, 2).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(19):
    example = torch.randn(15, 40).to(device)
    loss = model(example).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    miner.offer(float(step * 7 % 5), example)
print(len(miner.hardest()))
