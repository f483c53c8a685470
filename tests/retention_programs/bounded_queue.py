"""Clean: a thread prefetches batches through a queue of four."""
import queue
import threading

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Prefetcher(threading.Thread):
    def __init__(self, count, depth):
        super().__init__(daemon=True)
        self.count = count
        self.ready = queue.Queue(maxsize=depth)

    def run(self):
        for _ in range(self.count):
            self.ready.put(torch.randn(12, 25).to(device))
        self.ready.put(None)


prefetcher = Prefetcher(24, 4)
prefetcher.start()
model = torch.nn.Linear(25, 5).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
while (x := prefetcher.ready.get()) is not None:
    optimizer.zero_grad()
    model(x).pow(2).mean().backward()
    optimizer.step()
prefetcher.join()
