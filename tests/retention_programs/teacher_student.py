"""A student follows a teacher, which follows the student; features of both are compared through hooks."""
import copy

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Features:
    def __init__(self, layer):
        self.current = None
        self.handle = layer.register_forward_hook(self)

    def __call__(self, module, inputs, output):
        self.current = output


class Distillation(nn.Module):
    def __init__(self):
        super().__init__()
        self.student = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.seen = Features(self.student[0]), Features(self.teacher[0])

    def forward(self, x):
        output = self.student(x)
        with torch.no_grad():
            target = self.teacher(x)
        of_student, of_teacher = (each.current for each in self.seen)
        return (output - target).square().mean() + (of_student - of_teacher).abs().mean()

    @torch.no_grad()
    def update_teacher(self, momentum=0.99):
        for mine, theirs in zip(self.student.parameters(), self.teacher.parameters()):
            theirs.data = momentum * theirs.data + (1 - momentum) * mine.data


model = Distillation().to(device)
optimizer = torch.optim.Adam(model.student.parameters())
for _ in range(36):
    loss = model(torch.randn(16, 16, device=device))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.update_teacher()
