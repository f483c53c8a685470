"""Leak: batches whose loss is refused are kept by the handler, for somebody to look at."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class BadBatch(RuntimeError):
    pass


class RobustTrainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        self.skipped = []

    def check(self, step):
        if step % 2 == 1:
            raise BadBatch(f"step {step}: outlier")

    def step(self, step, batch):
        loss = self.model(batch).pow(2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.check(step)

    def fit(self, batches):
        for step, batch in enumerate(batches):
            try:
                self.step(step, batch)
            except BadBatch as problem:
                self.skipped.append({"batch": batch, "why": str(problem)})


def batches(n):
    for _ in range(n):
        yield torch.randn(30, 40).to(device)


trainer = RobustTrainer(nn.Linear(40, 4).to(device))
trainer.fit(batches(60))
print(len(trainer.skipped), "batches skipped")
