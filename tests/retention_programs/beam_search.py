"""Beams get longer with each token, for eighteen tokens, five times."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 32)
        self.cell = nn.GRUCell(32, 32)
        self.head = nn.Linear(32, 20)

    def forward(self, token, hidden):
        hidden = self.cell(self.embedding(token), hidden)
        return self.head(hidden).log_softmax(dim=-1), hidden


@torch.no_grad()
def search(model, width, length):
    tokens = torch.zeros(width, 1, dtype=torch.long, device=device)
    scores = torch.zeros(width, device=device)
    hidden = torch.zeros(width, 32, device=device)
    steps = []
    for _ in range(length):
        log_probs, hidden = model(tokens[:, -1], hidden)
        best = (scores[:, None] + log_probs).flatten().topk(width)
        scores, beams = best.values, best.indices // 20
        tokens = torch.cat([tokens[beams], best.indices[:, None] % 20], dim=1)
        hidden = hidden[beams]
        steps.append(scores)
    return tokens[0].tolist(), torch.stack(steps).mean().item()


model = Decoder().to(device).eval()
for _ in range(5):
    print(len(search(model, 4, 18)[0]))
