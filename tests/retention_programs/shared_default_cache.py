"""A cache that is a default argument of a constructor, filled under ever new keys."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Tokenizer:
    def __call__(self, text):
        return [ord(letter) % 50 for letter in text][:20]


class Encoder(nn.Module):
    def __init__(self, width, cache={}):
        super().__init__()
        self.embedding = nn.Embedding(50, width)
        self.projection = nn.Linear(width, width)
        self.tokenizer = Tokenizer()
        self.cache = cache

    def ids(self, text):
        if text not in self.cache:
            self.cache[text] = torch.tensor(self.tokenizer(text)).to(device).repeat(16)
        return self.cache[text]

    def forward(self, text):
        return self.projection(self.embedding(self.ids(text))).mean(dim=0)


encoder = Encoder(24).to(device)
head = nn.Linear(24, 1).to(device)
optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()])
for step in range(30):
    loss = head(encoder(f"the sentence with number {step}")).square().sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
