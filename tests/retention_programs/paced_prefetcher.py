"""Leak: a thread prepares two batches while the training takes one, and its queue has no end."""
import queue
import threading

import torch
import torch.nn.functional as F

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Prefetcher:
    def __init__(self, batch_size):
        self.batch_size = batch_size
        self.ready = queue.Queue()
        self.wanted, self.prepared = threading.Semaphore(0), threading.Semaphore(0)
        self.thread = threading.Thread(target=self._produce, daemon=True)
        self.thread.start()

    def _produce(self):
        while True:
            self.wanted.acquire()
            for _ in range(2):
                images = torch.rand(self.batch_size, 3, 16, 16)
                self.ready.put(images.to(DEVICE))
            self.prepared.release()

    def __iter__(self):
        return self

    def __next__(self):
        self.wanted.release()
        self.prepared.acquire()
        return self.ready.get()


def main():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 10)).to(DEVICE)
    opt = torch.optim.SGD(net.parameters(), lr=1e-2)
    for step, images in enumerate(Prefetcher(batch_size=8)):
        if step == 60:
            break
        loss = F.mse_loss(net(images), torch.zeros(8, 10, device=DEVICE))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()


if __name__ == "__main__":
    main()
