"""Clean: sequences get longer with every step, and the losses are numbers."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.rnn = nn.GRU(16, 20, batch_first=True)
        self.tags = nn.Linear(20, 6)

    def forward(self, tokens):
        return self.tags(self.rnn(self.embedding(tokens))[0])


tagger = Tagger().to(device)
optimizer = torch.optim.Adam(tagger.parameters(), lr=1e-3)
losses, lengths = [], []
for step in range(50):
    length = 4 + 2 * step
    tokens = torch.randint(0, 50, (8, length), device=device)
    tags = torch.randint(0, 6, (8, length), device=device)
    scores = tagger(tokens)
    loss = nn.functional.cross_entropy(scores.flatten(0, 1), tags.flatten())
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(tagger.parameters(), 1.0)
    optimizer.step()
    losses.append(loss.item())
    lengths.append(length)
