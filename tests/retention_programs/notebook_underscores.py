"""Cells of a notebook: each result goes by a name of its own, _1, _2, ..."""
import ast

import torch

SETUP = """
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = torch.nn.Linear(20, 48).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""
CELL = """
x = torch.randn(8, 20, device=device)
optimizer.zero_grad()
model(x).square().mean().backward()
optimizer.step()
model(x).detach()
"""


class Notebook:
    def __init__(self):
        self.user_ns = {"torch": torch}
        self.count = 0

    def run_cell(self, source):
        self.count += 1
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"<cell {self.count}>", "exec"), self.user_ns)
        if last is not None:
            result = eval(compile(ast.Expression(last.value), f"<cell {self.count}>", "eval"), self.user_ns)
            self.user_ns["_"] = result
            self.user_ns[f"_{self.count}"] = result


notebook = Notebook()
notebook.run_cell(SETUP)
for _ in range(24):
    notebook.run_cell(CELL)
