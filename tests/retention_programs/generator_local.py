"""A generator that keeps every batch it has yielded; only the `for` statement holds the generator."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def batches(count):
    served = []
    for _ in range(count):
        batch = torch.randn(12, 32).to(device)
        served.append(batch)
        yield batch
    print(len(served))


model = torch.nn.Linear(32, 3).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for batch in batches(16):
    loss = model(batch).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
