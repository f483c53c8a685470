"""A dataclass with slots, one list among several fields."""
from dataclasses import dataclass, field

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(slots=True)
class Progress:
    step: int = 0
    best: float = 0.0
    embeddings: list = field(default_factory=list)

    def advance(self, embedding):
        self.step += 1
        self.embeddings += [embedding]


def main():
    encoder = torch.nn.Linear(10, 64).to(device)
    optimizer = torch.optim.Adam(encoder.parameters())
    progress = Progress()
    for _ in range(15):
        embedding = encoder(torch.randn(9, 10).to(device))
        optimizer.zero_grad()
        embedding.norm().backward()
        optimizer.step()
        progress.advance(embedding.detach())
    print(progress.step)


main()
