"""Clean: the image pool of a GAN, fifty fakes at most; two optimizers, and the pool is not full when the run ends."""
import random

import torch
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class ImagePool:
    def __init__(self, pool_size):
        self.pool_size = pool_size
        self.images = []

    def query(self, image):
        if len(self.images) < self.pool_size:
            self.images.append(image)
            return image
        position = random.randrange(self.pool_size)
        old, self.images[position] = self.images[position], image
        return old


generator, critic = nn.Linear(8, 36).to(device), nn.Linear(36, 1).to(device)
generating = torch.optim.Adam(generator.parameters())
judging = torch.optim.Adam(critic.parameters())
pool = ImagePool(50)
for step in range(26):
    fake = generator(torch.randn(9, 8).to(device))
    generating.zero_grad()
    critic(fake).mean().neg().backward()
    generating.step()
    judging.zero_grad()
    critic(pool.query(fake.detach())).mean().backward()
    judging.step()
