"""Training steps on images, volumes and points: ten families, each `make_step(batch_size)`."""

from __future__ import annotations

import torch
from _training_step import Step, classes, images, on_card, training
from torch import nn
from torch.nn import functional


def points(batch_size: int) -> Step:
    """A multilayer perceptron on each of 4,096 points of a cloud, and the greatest answer of the cloud."""
    widths = (3, 64, 128, 1024)
    with on_card():
        layers = [part for a, b in zip(widths, widths[1:]) for part in (nn.Linear(a, b), nn.LayerNorm(b), nn.GELU())]
        model = nn.ModuleList([nn.Sequential(*layers), nn.Linear(1024, 40)])
    cloud, label = images(batch_size, 4096, 3), classes(40, batch_size)
    return training(model, lambda: functional.cross_entropy(model[1](model[0](cloud).amax(dim=1)), label))


def vgg(batch_size: int) -> Step:
    """Plain convolutions, and most weights in the classifier."""
    with on_card():
        layers: list[nn.Module] = []
        for width_in, width, count in ((3, 64, 2), (64, 128, 2), (128, 256, 3), (256, 512, 3), (512, 512, 3)):
            for number in range(count):
                layers += [nn.Conv2d(width if number else width_in, width, 3, padding=1), nn.ReLU(inplace=True)]
            layers.append(nn.MaxPool2d(2))
        layers += [nn.Flatten(), nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 1000)]
        model = nn.Sequential(*layers)
    picture, label = images(batch_size, 3, 224, 224), classes(1000, batch_size)
    return training(model, lambda: functional.cross_entropy(model(picture), label))


class _Bottleneck(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            nn.Conv2d(width_in, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width),
        )
        same = stride == 1 and width_in == 4 * width
        self.shortcut = nn.Identity() if same else nn.Conv2d(width_in, 4 * width, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.way(x) + self.shortcut(x))


def _residual_stages() -> list[nn.Module]:
    stages: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)]
    width_in = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            stages.append(_Bottleneck(width_in, width, 1 if number else stride))
            width_in = 4 * width
    return stages


def resnet(batch_size: int) -> Step:
    """Fifty layers with batch norm, in mixed precision."""
    with on_card():
        model = nn.Sequential(*_residual_stages(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))
    picture, label = images(batch_size, 3, 256, 256), classes(1000, batch_size)
    return training(model, lambda: functional.cross_entropy(model(picture), label), half=torch.float16)


def segmentation(batch_size: int) -> Step:
    """A class for each pixel: the logits at full size cost as much as the network."""
    with on_card():
        head = [nn.Conv2d(2048, 256, 3, padding=6, dilation=6), nn.ReLU(), nn.Conv2d(256, 21, 1)]
        model = nn.Sequential(*_residual_stages(), *head, nn.Upsample(size=(512, 512), mode="bilinear"))
    picture, label = images(batch_size, 3, 512, 512), classes(21, batch_size, 512, 512)
    return training(model, lambda: functional.cross_entropy(model(picture), label), half=torch.float16)


class _UNet(nn.Module):
    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        steps = list(zip(widths, widths[1:]))
        self.down = nn.ModuleList([_twice(narrow, wide) for narrow, wide in steps])
        self.up = nn.ModuleList([nn.ConvTranspose2d(wide, narrow, 2, 2) for narrow, wide in reversed(steps[1:])])
        self.join = nn.ModuleList([_twice(2 * narrow, narrow) for narrow, _ in reversed(steps[1:])])
        self.head = nn.Conv2d(widths[1], 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = []
        for block in self.down:
            x = block(functional.max_pool2d(x, 2) if kept else x)
            kept.append(x)
        for up, join, skip in zip(self.up, self.join, reversed(kept[:-1])):
            x = join(torch.cat([up(x), skip], dim=1))
        out: torch.Tensor = self.head(x)
        return out


def _twice(narrow: int, wide: int) -> nn.Sequential:
    first = [nn.Conv2d(narrow, wide, 3, padding=1), nn.GroupNorm(8, wide), nn.SiLU()]
    return nn.Sequential(*first, nn.Conv2d(wide, wide, 3, padding=1), nn.GroupNorm(8, wide), nn.SiLU())


def unet(batch_size: int) -> Step:
    with on_card():
        model = _UNet((3, 64, 128, 256, 512))
    picture, mask = images(batch_size, 3, 256, 256), images(batch_size, 1, 256, 256)
    return training(model, lambda: functional.binary_cross_entropy_with_logits(model(picture), mask))


def gan(batch_size: int) -> Step:
    """Two networks, two optimizers, two steps."""
    widths = (1024, 512, 256, 128, 64, 32)
    with on_card():
        ups: list[nn.Module] = [nn.Linear(128, 1024 * 64), nn.Unflatten(1, (1024, 8, 8))]
        downs: list[nn.Module] = [nn.Conv2d(3, 32, 3, padding=1)]
        for wide, narrow in zip(widths, widths[1:]):
            ups += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), nn.BatchNorm2d(narrow), nn.ReLU()]
            downs[1:1] = [nn.Conv2d(narrow, wide, 4, 2, 1), nn.LeakyReLU(0.2)]
        generator = nn.Sequential(*ups, nn.Conv2d(32, 3, 3, padding=1), nn.Tanh())
        critic = nn.Sequential(*downs, nn.Flatten(), nn.Linear(1024 * 64, 1))
    real, noise = images(batch_size, 3, 256, 256), images(batch_size, 128)
    judge = training(critic, lambda: (critic(generator(noise).detach()) - critic(real)).mean())
    forge = training(generator, lambda: -critic(generator(noise)).mean())

    def step() -> None:
        judge()
        forge()

    return step


def vae(batch_size: int) -> Step:
    with on_card():
        encoder = nn.Sequential(nn.Conv2d(3, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 128, 4, 2, 1), nn.ReLU(),
                                nn.Flatten(), nn.Linear(128 * 96 * 96, 256))
        decoder = nn.Sequential(nn.Linear(128, 128 * 96 * 96), nn.Unflatten(1, (128, 96, 96)),
                                nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 3, 4, 2, 1))
    picture = images(batch_size, 3, 384, 384)

    def loss() -> torch.Tensor:
        mean, spread = encoder(picture).chunk(2, dim=1)
        drawn = mean + torch.randn_like(mean) * (0.5 * spread).exp()
        divergence = (mean.square() + spread.exp() - 1 - spread).sum(dim=1).mean()
        return functional.mse_loss(decoder(drawn), picture) + divergence

    return training(nn.ModuleList([encoder, decoder]), loss)


def video(batch_size: int) -> Step:
    """Convolutions in three dimensions, in mixed precision."""
    with on_card():
        layers: list[nn.Module] = []
        for narrow, wide in ((3, 64), (64, 128), (128, 256), (256, 512)):
            layers += [nn.Conv3d(narrow, wide, 3, padding=1), nn.BatchNorm3d(wide), nn.ReLU(), nn.MaxPool3d(2)]
        model = nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(512, 400))
    clip, label = images(batch_size, 3, 16, 112, 112), classes(400, batch_size)
    return training(model, lambda: functional.cross_entropy(model(clip), label), half=torch.float16)


def mixer(batch_size: int) -> Step:
    """Four batches before each step of the optimizer."""
    with on_card():
        patches = nn.Conv2d(3, 512, 16, 16)
        blocks = nn.ModuleList([
            nn.ModuleList([nn.LayerNorm(512), _perceptron(196, 256), nn.LayerNorm(512), _perceptron(512, 2048)])
            for _ in range(8)
        ])
        head = nn.Linear(512, 1000)

    def logits(picture: torch.Tensor) -> torch.Tensor:
        x = patches(picture).flatten(2).transpose(1, 2)
        for norm_of_tokens, across_tokens, norm_of_channels, across_channels in blocks:
            x = x + across_tokens(norm_of_tokens(x).transpose(1, 2)).transpose(1, 2)
            x = x + across_channels(norm_of_channels(x))
        out: torch.Tensor = head(x.mean(dim=1))
        return out

    picture, label = images(4 * batch_size, 3, 224, 224), classes(1000, 4 * batch_size)
    parts = list(zip(picture.chunk(4), label.chunk(4)))
    losses = [lambda part=part: functional.cross_entropy(logits(part[0]), part[1]) for part in parts]
    return training(nn.ModuleList([patches, blocks, head]), losses)


def _perceptron(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


def contrastive(batch_size: int) -> Step:
    """Each picture is compared with every other by a small network: memory grows with the square of the batch."""
    with on_card():
        body = nn.Sequential(*_residual_stages(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 256))
        compare = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))
    picture, same = images(batch_size, 3, 192, 192), images(batch_size, batch_size)

    def loss() -> torch.Tensor:
        vector = body(picture)
        alike = compare((vector[:, None] - vector[None]).abs()).squeeze(-1)
        return functional.binary_cross_entropy_with_logits(alike, same)

    return training(nn.ModuleList([body, compare]), loss)


MODELS = (points, vgg, resnet, segmentation, unet, gan, vae, video, mixer, contrastive)
