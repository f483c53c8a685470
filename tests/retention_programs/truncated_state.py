"""An LSTM whose state is carried from batch to batch, without its graph."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, 16)
        self.lstm = nn.LSTM(16, 24, batch_first=True)
        self.head = nn.Linear(24, 30)

    def forward(self, tokens, state):
        hidden, state = self.lstm(self.embedding(tokens), state)
        return self.head(hidden), state


model = Language().to(device)
optimizer = torch.optim.Adam(model.parameters())
state = None
for _ in range(32):
    tokens = torch.randint(0, 30, (4, 12), device=device)
    logits, state = model(tokens, state)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    state = tuple(each.detach() for each in state)
