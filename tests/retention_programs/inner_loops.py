"""Meta-learning: each task adapts the weights in three steps, with the graph of the gradients."""
import torch
from torch import nn
from torch.func import functional_call

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class MetaLearner:
    def __init__(self, model):
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters())
        self.fast = None

    def adapt(self, x, y):
        self.fast = dict(self.model.named_parameters())
        for _ in range(3):
            loss = (functional_call(self.model, self.fast, (x,)) - y).square().mean()
            gradients = torch.autograd.grad(loss, list(self.fast.values()), create_graph=True)
            self.fast = {name: p - 0.1 * g for (name, p), g in zip(self.fast.items(), gradients)}

    def step(self):
        meta_loss = 0.0
        for _ in range(2):
            x, y = torch.randn(16, 8, device=device), torch.randn(16, 1, device=device)
            self.adapt(x, y)
            meta_loss = meta_loss + (functional_call(self.model, self.fast, (x,)) - y).square().mean()
        self.optimizer.zero_grad()
        meta_loss.backward()
        self.optimizer.step()


learner = MetaLearner(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)).to(device))
for _ in range(24):
    learner.step()
