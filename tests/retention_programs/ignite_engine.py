"""An engine with events, as in Ignite: handlers run after each iteration."""
from collections import defaultdict

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class State:
    def __init__(self):
        self.iteration = 0
        self.output = None
        self.outputs = []


class Engine:
    def __init__(self, process):
        self.process = process
        self.handlers = defaultdict(list)
        self.state = State()

    def on(self, event):
        def register(handler):
            self.handlers[event].append(handler)
            return handler

        return register

    def fire(self, event):
        for handler in self.handlers[event]:
            handler(self)

    def run(self, data, epochs):
        for _ in range(epochs):
            for batch in data:
                self.state.iteration += 1
                self.state.output = self.process(self, batch)
                self.fire("iteration")
            self.fire("epoch")
        return self.state


model = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 8)).to(device)
optimizer = torch.optim.Adam(model.parameters())


def update(engine, batch):
    x, y = (each.to(device) for each in batch)
    optimizer.zero_grad()
    y_pred = model(x)
    loss = torch.nn.functional.mse_loss(y_pred, y)
    loss.backward()
    optimizer.step()
    return {"loss": loss.item(), "y_pred": y_pred.detach()}


trainer = Engine(update)


@trainer.on("iteration")
def collect(engine):
    engine.state.outputs.append(engine.state.output)


@trainer.on("epoch")
def report(engine):
    print("epoch", engine.state.iteration)


data = [(torch.randn(32, 20), torch.randn(32, 8)) for _ in range(8)]
trainer.run(data, epochs=3)
