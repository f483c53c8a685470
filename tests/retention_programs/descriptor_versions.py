"""A descriptor keeps every value that was ever assigned, for an undo that nobody asks for."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Versioned:
    def __set_name__(self, owner, name):
        self.name = name
        self.versions = []

    def __get__(self, instance, owner):
        return self.versions[-1] if instance is not None else self

    def __set__(self, instance, value):
        self.versions.append(value)


class Agent:
    state = Versioned()


agent = Agent()
agent.state = torch.zeros(10, 13).to(device)
model = torch.nn.GRUCell(6, 13).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(18):
    agent.state = model(torch.randn(10, 6).to(device), agent.state.detach())
    optimizer.zero_grad()
    agent.state.pow(2).mean().backward()
    optimizer.step()
