"""Clean: the log-probabilities of an episode are kept until it ends, and episodes get longer with training."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Policy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(5, 3)
        self.saved = []

    def act(self, state):
        self.saved.append(self.layer(state).log_softmax(-1)[:, 0])


policy = Policy().to(device)
optimizer = torch.optim.Adam(policy.parameters())
for episode in range(18):
    for _ in range(4 + episode):
        policy.act(torch.randn(10, 5).to(device))
    optimizer.zero_grad()
    torch.stack(policy.saved).mean().neg().backward()
    optimizer.step()
    policy.saved.clear()
