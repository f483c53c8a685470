"""Weights averaged over time; evaluation swaps them in and puts the others on a stack of backups."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class EMA:
    def __init__(self, model, decay=0.99):
        self.model = model
        self.decay = decay
        self.shadow = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.backups = []

    @torch.no_grad()
    def update(self):
        for name, p in self.model.named_parameters():
            self.shadow[name].mul_(self.decay).add_(p, alpha=1 - self.decay)

    @torch.no_grad()
    def store(self):
        self.backups.append([p.clone() for p in self.model.parameters()])
        for name, p in self.model.named_parameters():
            p.copy_(self.shadow[name])

    @torch.no_grad()
    def restore(self):
        for p, saved in zip(self.model.parameters(), self.backups[-1]):
            p.copy_(saved)


net = torch.nn.Linear(32, 48).to(device)
ema = EMA(net)
optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3)
for step in range(36):
    optimizer.zero_grad()
    net(torch.randn(4, 32, device=device)).abs().sum().backward()
    optimizer.step()
    ema.update()
    if step % 3 == 2:
        ema.store()
        with torch.no_grad():
            quality = net(torch.ones(4, 32, device=device)).mean()
        ema.restore()
