"""Two networks against each other: labels filled in place, gradients of a detached fake, two optimizers."""

import torch
from torch import nn

device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def weights_init(module):
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def main():
    generator = nn.Sequential(
        nn.ConvTranspose2d(100, 64, 4, 1, 0, bias=False), nn.BatchNorm2d(64), nn.ReLU(True),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(True),
        nn.ConvTranspose2d(32, 3, 4, 2, 1, bias=False), nn.Tanh()).to(device)
    discriminator = nn.Sequential(
        nn.Conv2d(3, 32, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(32, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(64, 1, 4, 1, 0, bias=False), nn.Sigmoid()).to(device)
    for network in (generator, discriminator):
        network.apply(weights_init)
    criterion = nn.BCELoss()
    optimizers = [torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
                  for network in (generator, discriminator)]
    for _ in range(3):
        real = torch.rand(16, 3, 16, 16).to(device)
        discriminator.zero_grad()
        label = torch.full((16,), 1, dtype=real.dtype, device=device)
        real_loss = criterion(discriminator(real).view(-1), label)
        real_loss.backward()
        fake = generator(torch.randn(16, 100, 1, 1, device=device))
        label.fill_(0)
        fake_loss = criterion(discriminator(fake.detach()).view(-1), label)
        fake_loss.backward()
        optimizers[1].step()
        generator.zero_grad()
        label.fill_(1)
        loss = criterion(discriminator(fake).view(-1), label)
        loss.backward()
        optimizers[0].step()
        print(f"Loss_D: {(real_loss + fake_loss).item():.4f} Loss_G: {loss.item():.4f}")
    assert fake.is_cuda and fake.shape == (16, 3, 16, 16)


if __name__ == "__main__":
    main()
