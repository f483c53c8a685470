"""Warnings are kept as exceptions, and each keeps the frame that raised it."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Monitor:
    def __init__(self):
        self.problems = {}

    def check(self, model, step):
        try:
            activations = model(torch.randn(25, 16).to(device)).exp()
            raise ArithmeticError(f"{len(activations)} outputs look odd")
        except ArithmeticError as error:
            self.problems[step] = error


model = torch.nn.Linear(16, 16).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
monitor = Monitor()
for step in range(15):
    loss = model(torch.randn(8, 16).to(device)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    monitor.check(model, step)
print(len(monitor.problems))
