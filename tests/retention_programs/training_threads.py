"""Two threads train at once, each its own model; one of them keeps what it predicts."""
import threading

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(kept, both):
    model = torch.nn.Linear(32, 16).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(25):
        both.wait()
        predicted = model(torch.randn(20, 32).to(device))
        optimizer.zero_grad()
        predicted.pow(2).mean().backward()
        optimizer.step()
        if kept is not None:
            kept.append(predicted.detach())


both = threading.Barrier(2)
history = []
threads = [threading.Thread(target=train, args=(kept, both)) for kept in (history, None)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
