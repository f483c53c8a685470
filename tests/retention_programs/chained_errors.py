"""Each failure is raised from the one before: the last exception keeps all of them, with their frames."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Diverged(Exception):
    pass


def check(model, previous):
    scores = model(torch.randn(19, 16).to(device)).detach().relu()
    raise Diverged(f"{len(scores)} scores") from previous


def main():
    model = torch.nn.Linear(16, 16).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    last_error = None
    for _ in range(16):
        optimizer.zero_grad()
        model(torch.randn(4, 16).to(device)).pow(2).mean().backward()
        optimizer.step()
        try:
            check(model, last_error)
        except Diverged as error:
            last_error = error


main()
