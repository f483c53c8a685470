"""Outputs of an epoch, cleared at its end; the last epoch is not finished."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, 6)
        self.step_outputs = {"preds": [], "labels": []}

    def training_step(self, batch):
        x, y = batch
        preds = self.layer(x)
        self.step_outputs["preds"].append(preds.detach())
        self.step_outputs["labels"].append(y)
        return nn.functional.cross_entropy(preds, y)

    def on_train_epoch_end(self):
        preds = torch.cat(self.step_outputs["preds"]).argmax(dim=1)
        accuracy = (preds == torch.cat(self.step_outputs["labels"])).float().mean()
        for values in self.step_outputs.values():
            values.clear()
        return accuracy


module = Module().to(device)
optimizer = torch.optim.Adam(module.parameters())
seen = 0
for epoch in range(4):
    for _ in range(11):
        if seen == 42:
            break
        seen += 1
        batch = torch.randn(64, 12, device=device), torch.randint(0, 6, (64,), device=device)
        loss = module.training_step(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    else:
        module.on_train_epoch_end()
