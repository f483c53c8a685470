"""A decorator that remembers every result on the function that it wraps."""
import functools

import torch

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def remember(function):
    @functools.wraps(function)
    def wrapper(*args):
        result = function(*args)
        wrapper.results.append(result)
        return result

    wrapper.results = []
    return wrapper


model = torch.nn.Linear(24, 12).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


@remember
def penalty():
    return model(torch.ones(8, 24, device=device)).abs().mean()


for step in range(14):
    loss = model(torch.randn(8, 24).to(device)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    penalty()
print(len(penalty.results))
