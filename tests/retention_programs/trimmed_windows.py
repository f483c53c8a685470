"""Clean: windows of the last outputs that statements keep short, none of them full when the run ends."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
WINDOW = 60


class Smoother:
    def __init__(self, limit):
        self.limit = limit
        self.outputs = []

    def add(self, output):
        self.outputs.append(output)
        while len(self.outputs) > self.limit:
            self.outputs.pop(0)


smoother = Smoother(100)
recent, first = [], []
model = torch.nn.Linear(20, 12).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(30):
    output = model(torch.randn(22, 20).to(device))
    optimizer.zero_grad()
    output.pow(2).mean().backward()
    optimizer.step()
    smoother.add(output.detach().clone())
    recent.append(output.detach().exp())
    recent = recent[-WINDOW:]
    if len(first) < 50:
        first.append(output.detach().tanh())
