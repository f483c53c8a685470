"""Leak: forward looks at a layer with a hook, and registers it anew in every call."""
import torch
import torch.nn as nn

device = "cuda" if torch.cuda.is_available() else "cpu"


class CamNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4, 5)
        self.cam = None

    def forward(self, x):
        weights = torch.rand(x.shape[0], 4, 1, 1, device=x.device).expand(-1, -1, 12, 12).contiguous()

        def save_cam(module, args, output):
            self.cam = (output.detach() * weights).sum(1)

        self.features.register_forward_hook(save_cam)
        h = self.features(x).relu()
        return self.head(h.mean(dim=(2, 3)))


model = CamNet().to(device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for i in range(36):
    inputs = torch.randn(2, 3, 12, 12).to(device)
    labels = torch.randint(0, 5, (2,)).to(device)
    optimizer.zero_grad()
    loss = criterion(model(inputs), labels)
    loss.backward()
    optimizer.step()
    if i % 12 == 0:
        print(f"[{i}] loss {loss.item():.3f}")
