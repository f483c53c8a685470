"""A framework calls the steps of a module; what validation returns is kept, and its epoch end forgets to clear it."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class LitClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(20, 5)
        self.validation_step_outputs = []

    def training_step(self, batch):
        x, y = batch
        return nn.functional.cross_entropy(self.layer(x), y)

    def validation_step(self, batch):
        x, y = batch
        logits = self.layer(x)
        self.validation_step_outputs.append({"logits": logits, "loss": nn.functional.cross_entropy(logits, y).item()})

    def on_validation_epoch_end(self):
        mean = sum(output["loss"] for output in self.validation_step_outputs) / len(self.validation_step_outputs)
        print(f"val_loss {mean:.1f}")


class MiniTrainer:
    def fit(self, module, epochs):
        optimizer = torch.optim.Adam(module.parameters())
        for _ in range(epochs):
            module.train()
            for _ in range(3):
                optimizer.zero_grad()
                module.training_step(self.batch()).backward()
                optimizer.step()
            self.validate(module)

    def validate(self, module):
        module.eval()
        with torch.no_grad():
            for _ in range(2):
                module.validation_step(self.batch())
        module.on_validation_epoch_end()

    def batch(self):
        return torch.randn(64, 20).to(device), torch.randint(5, (64,)).to(device)


MiniTrainer().fit(LitClassifier().to(device), epochs=10)
