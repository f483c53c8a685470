"""Training keeps nothing; the evaluation after it gathers pairs in an evaluator for ever."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Evaluator:
    def __init__(self, model):
        self.model = model
        self.pairs = []

    @torch.no_grad()
    def __call__(self, x, y):
        self.model.eval()
        prediction = self.model(x)
        self.pairs.append((prediction, y))
        return (prediction - y).abs().mean().item()


model = nn.Sequential(nn.Linear(12, 24), nn.Dropout(0.2), nn.Linear(24, 8)).to(device)
optimizer = torch.optim.Adam(model.parameters())
for _ in range(6):
    loss = model(torch.randn(64, 12, device=device)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
evaluator = Evaluator(model)
errors = [
    evaluator(torch.randn(64, 12, device=device), torch.randn(64, 8, device=device)) for _ in range(60)
]
