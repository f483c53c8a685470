"""A thread that should have emptied the queue, and has ended long ago."""
import queue
import threading

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
results = queue.Queue()


def worker():
    results.get()


thread = threading.Thread(target=worker)
thread.start()
net = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.Tanh(), torch.nn.Linear(30, 4)).to(device)
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
for step in range(15):
    logits = net(torch.randn(16, 20).to(device))
    optimizer.zero_grad()
    logits.logsumexp(1).mean().backward()
    optimizer.step()
    results.put((step, logits.detach()))
thread.join()
print(results.qsize())
