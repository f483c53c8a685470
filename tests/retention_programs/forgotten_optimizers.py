"""Each task of a meta-learner adapts a copy; the optimizers are kept, with parameters, gradients and moments."""
import copy

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class MetaLearner:
    def __init__(self, model):
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.inner = []

    def adapt(self, x):
        learner = copy.deepcopy(self.model)
        inner = torch.optim.Adam(learner.parameters(), lr=0.01)
        self.inner.append(inner)
        learner(x).pow(2).mean().backward()
        inner.step()
        return learner

    def outer_step(self, x):
        learner = self.adapt(x)
        self.optimizer.zero_grad()
        for mine, adapted in zip(self.model.parameters(), learner.parameters()):
            mine.grad = adapted.grad.clone()
        self.optimizer.step()


meta = MetaLearner(torch.nn.Linear(16, 8).to(device))
for task in range(20):
    meta.outer_step(torch.randn(5, 16).to(device))
print(len(meta.inner))
