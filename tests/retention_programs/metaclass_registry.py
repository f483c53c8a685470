"""Every object of a class is registered by its metaclass, and none is ever removed."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Registered(type):
    instances = []

    def __call__(cls, *args):
        instance = super().__call__(*args)
        Registered.instances.append(instance)
        return instance


class Batch(metaclass=Registered):
    def __init__(self, size):
        self.x = torch.randn(size, 40).to(device)


model = torch.nn.Linear(40, 2).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(14):
    batch = Batch(16)
    loss = model(batch.x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(len(Registered.instances))
