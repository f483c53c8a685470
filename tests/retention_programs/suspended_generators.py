"""Decoders are generators; those that are not exhausted wait in a list with their state."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def decode(model, x):
    state = model(x).detach()
    while True:
        yield float(state.shape[0])
        state = state.tanh()


class Server:
    def __init__(self, model):
        self.model = model
        self.sessions = {}

    def open(self, key, x):
        session = decode(self.model, x)
        next(session)
        self.sessions[key] = session


model = torch.nn.Linear(14, 14).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
server = Server(model)
for step in range(17):
    optimizer.zero_grad()
    model(torch.randn(6, 14).to(device)).pow(2).mean().backward()
    optimizer.step()
    server.open(f"user-{step}", torch.randn(22, 14).to(device))
print(len(server.sessions))
