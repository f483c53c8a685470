"""Callbacks around a trainer: one takes a snapshot of the weights every second step."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Callback:
    def on_step_end(self, trainer):
        pass


class Progress(Callback):
    def on_step_end(self, trainer):
        if trainer.step % 10 == 0:
            print(trainer.step)


class Snapshots(Callback):
    def __init__(self, every):
        self.every = every
        self.weights = {}

    def on_step_end(self, trainer):
        if trainer.step % self.every == 0:
            state = trainer.model.state_dict()
            self.weights[trainer.step] = {name: value.clone() for name, value in state.items()}


class Trainer:
    def __init__(self, model, callbacks):
        self.model = model.to(device)
        self.callbacks = callbacks
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.step = 0

    def fit(self, steps):
        for self.step in range(steps):
            x = torch.randn(16, 24, device=device)
            loss = self.model(x).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            for callback in self.callbacks:
                callback.on_step_end(self)


Trainer(torch.nn.Linear(24, 16), [Progress(), Snapshots(every=2)]).fit(28)
