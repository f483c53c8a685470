"""Clean: an exponential average from the start, a stochastic one from epoch three, the best weights on the host."""
import copy

import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(15, 31), nn.BatchNorm1d(31), nn.ReLU(), nn.Linear(31, 4)).to(device)
ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
swa = AveragedModel(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
schedule = SWALR(optimizer, swa_lr=0.01)
history = {"loss": []}
best, best_state = float("inf"), None
data = [torch.randn(22, 15) for _ in range(8)]
for epoch in range(6):
    running = 0.0
    for x in data:
        loss = model(x.to(device)).logsumexp(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update_parameters(model)
        running += loss.item()
    history["loss"].append(running / len(data))
    if running < best:
        best, best_state = running, copy.deepcopy({k: v.cpu() for k, v in model.state_dict().items()})
    if epoch >= 3:
        swa.update_parameters(model)
        schedule.step()
update_bn(data, swa, device=device)
