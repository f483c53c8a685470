"""Gradients of four small batches, with the losses of one step in a list."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 4)).to(device)
optimizer = torch.optim.AdamW(model.parameters())
scaler = torch.amp.GradScaler(device.type, enabled=False)
history = []
micro_losses = []
for step in range(96):
    x = torch.randn(8, 24, device=device)
    loss = model(x).square().mean() / 4
    scaler.scale(loss).backward()
    micro_losses.append(loss)
    if (step + 1) % 4 == 0:
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        history.append(torch.stack([each.detach() for each in micro_losses]).sum().item())
        micro_losses = []
print(len(history))
