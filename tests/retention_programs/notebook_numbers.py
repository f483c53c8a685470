"""Clean: cells of a notebook that end with a number; the model is made anew in between."""
import ast

import torch


def run_cell(source, namespace, number):
    *statements, last = ast.parse(source).body
    exec(compile(ast.Module(statements, []), f"<cell {number}>", "exec"), namespace)
    value = eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), namespace)
    namespace["Out"][number] = namespace["_"] = value


MAKE = """
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = torch.nn.Linear(7, 11).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model
"""
TRAIN = """
optimizer.zero_grad()
loss = model(torch.randn(60, 7).to(device)).exp().mean()
loss.backward()
optimizer.step()
loss.item()
"""
namespace = {"Out": {}, "torch": torch}
for number in range(24):
    run_cell(TRAIN if number % 12 else MAKE, namespace, number)
