"""A variational autoencoder: reparametrisation, a summed loss, samples that are written out."""

import numpy
import torch
from torch import nn
from torch.nn import functional


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 400)
        self.fc21 = nn.Linear(400, 20)
        self.fc22 = nn.Linear(400, 20)
        self.fc3 = nn.Linear(20, 400)
        self.fc4 = nn.Linear(400, 784)

    def forward(self, x):
        hidden = functional.relu(self.fc1(x.view(-1, 784)))
        mean, log_variance = self.fc21(hidden), self.fc22(hidden)
        code = mean + torch.randn_like(log_variance) * torch.exp(0.5 * log_variance)
        return self.decode(code), mean, log_variance

    def decode(self, code):
        return torch.sigmoid(self.fc4(functional.relu(self.fc3(code))))


def main():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = VAE().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    train_loss = 0
    for _ in range(3):
        data = torch.rand(128, 1, 28, 28).to(device)
        optimizer.zero_grad()
        decoded, mean, log_variance = model(data)
        likelihood = functional.binary_cross_entropy(decoded, data.view(-1, 784), reduction="sum")
        divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        loss = likelihood + divergence
        loss.backward()
        train_loss += loss.item()
        optimizer.step()
    with torch.no_grad():
        sample = model.decode(torch.randn(64, 20).to(device)).cpu()
    picture = sample.view(64, 1, 28, 28).numpy()
    assert isinstance(picture, numpy.ndarray) and isinstance(train_loss, float)


if __name__ == "__main__":
    main()
