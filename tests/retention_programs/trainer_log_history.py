"""A trainer in the manner of transformers: arguments, state, control, a log."""
from dataclasses import dataclass, field

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass
class TrainingArguments:
    max_steps: int = 30
    logging_steps: int = 1
    learning_rate: float = 1e-2


@dataclass
class TrainerState:
    global_step: int = 0
    log_history: list = field(default_factory=list)


class TrainerCallback:
    def on_log(self, args, state, logs):
        pass


class PrinterCallback(TrainerCallback):
    def on_log(self, args, state, logs):
        if state.global_step % 10 == 0:
            print(sorted(logs))


class Trainer:
    def __init__(self, model, args, callbacks=()):
        self.model = model
        self.args = args
        self.state = TrainerState()
        self.callbacks = list(callbacks)

    def training_step(self, inputs):
        self.model.train()
        per_token = self.model(inputs).square().mean(dim=-1)
        loss = per_token.mean()
        loss.backward()
        return loss.detach(), per_token.detach()

    def log(self, logs):
        output = {**logs, "step": self.state.global_step}
        self.state.log_history.append(output)
        for callback in self.callbacks:
            callback.on_log(self.args, self.state, output)

    def train(self):
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.args.learning_rate)
        for _ in range(self.args.max_steps):
            inputs = torch.randn(8, 40, 16).to(device)
            loss, per_token = self.training_step(inputs)
            optimizer.step()
            optimizer.zero_grad()
            self.state.global_step += 1
            if self.state.global_step % self.args.logging_steps == 0:
                self.log({"loss": float(loss), "token_loss": per_token})


model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.GELU(), torch.nn.Linear(16, 4)).to(device)
Trainer(model, TrainingArguments(), [PrinterCallback()]).train()
