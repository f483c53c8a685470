"""A GAN with two optimizers; the pictures of a fixed noise are kept to make a film of them."""
import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mlp(*sizes):
    layers = []
    for before, after in zip(sizes, sizes[1:]):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


generator, discriminator = mlp(16, 32, 24).to(device), mlp(24, 32, 1).to(device)
optimizer_g = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
criterion = nn.BCEWithLogitsLoss()
fixed_noise = torch.randn(8, 16, device=device)
img_list = []
for step in range(28):
    real = torch.randn(8, 24, device=device)
    fake = generator(torch.randn(8, 16, device=device))
    optimizer_d.zero_grad()
    error_real = criterion(discriminator(real), torch.ones(8, 1, device=device))
    error_fake = criterion(discriminator(fake.detach()), torch.zeros(8, 1, device=device))
    (error_real + error_fake).backward()
    optimizer_d.step()
    optimizer_g.zero_grad()
    criterion(discriminator(fake), torch.ones(8, 1, device=device)).backward()
    optimizer_g.step()
    img_list.append(generator(fixed_noise))
