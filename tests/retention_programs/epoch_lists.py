"""A list of lists, one for each epoch, all of them kept."""
import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Log:
    def __init__(self):
        self.epochs = []

    def start(self):
        self.epochs.append([])

    def add(self, value):
        self.epochs[-1].append(value)


def main():
    model = torch.nn.Linear(12, 5).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    log = Log()
    for _ in range(5):
        log.start()
        for _ in range(4):
            output = model(torch.randn(30, 12).to(device))
            optimizer.zero_grad()
            output.pow(2).mean().backward()
            optimizer.step()
            log.add(output.detach())
    print(len(log.epochs))


main()
