"""A weak dictionary whose values refer to their own keys, so that nothing ever goes."""
import weakref

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Sample:
    def __init__(self, number):
        self.number = number


class Features:
    def __init__(self, sample, values):
        self.sample = sample
        self.values = values


class Store:
    def __init__(self):
        self.features = weakref.WeakKeyDictionary()

    def of(self, sample):
        if sample not in self.features:
            values = torch.full((20, 16), float(sample.number), device=device)
            self.features[sample] = Features(sample, values)
        return self.features[sample].values


store = Store()
model = nn.Linear(16, 2).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for number in range(25):
    loss = model(store.of(Sample(number))).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
