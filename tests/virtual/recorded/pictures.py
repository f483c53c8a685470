"""Convolutional networks: normalisations, upsampling, volumes, transposed and grouped convolutions, without cuDNN."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from .training import Step, images, training


def _classes(model: nn.Module) -> torch.Tensor:
    return functional.cross_entropy(model(images(16, 128)), torch.randint(0, 100, (16,)).cuda())


class _ChannelsLastNorm(nn.LayerNorm):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _WideBlock(nn.Module):
    """Depthwise convolution, norm and two linear layers on channels, and a learnt scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + (self.scale * self.down(functional.gelu(self.up(inner)))).permute(0, 3, 1, 2)


def _wide_network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 96, 4, 4), _ChannelsLastNorm(96), _WideBlock(96), _WideBlock(96), _ChannelsLastNorm(96),
        nn.Conv2d(96, 192, 2, 2), _WideBlock(192), _WideBlock(192), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.LayerNorm(192), nn.Linear(192, 100))


def wide_blocks_bfloat16() -> Step:
    return training(_wide_network(), _classes, precision=torch.bfloat16)


def wide_blocks_float32() -> Step:
    return training(_wide_network(), _classes)


class _InvertedBlock(nn.Module):
    """Expansion, depthwise convolution, squeeze and excitation, projection."""

    def __init__(self, inside: int, outside: int, stride: int, act: type[nn.Module]) -> None:
        super().__init__()
        wide = 4 * inside
        self.expand = nn.Sequential(nn.Conv2d(inside, wide, 1, bias=False), nn.BatchNorm2d(wide), act(inplace=True))
        self.depthwise = nn.Sequential(
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), act(inplace=True))
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, inside, 1), act(inplace=True), nn.Conv2d(inside, wide, 1),
            nn.Sigmoid())
        self.project = nn.Sequential(nn.Conv2d(wide, outside, 1, bias=False), nn.BatchNorm2d(outside))
        self.is_residual = stride == 1 and inside == outside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.depthwise(self.expand(x))
        out = self.project(out * self.squeeze(out))
        return x + out if self.is_residual else out


def _inverted_network(act: type[nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), act(inplace=True), _InvertedBlock(32, 48, 2, act),
        _InvertedBlock(48, 48, 1, act), _InvertedBlock(48, 96, 2, act), _InvertedBlock(96, 96, 1, act),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(96, 100))


def _momentum(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)


def _root_mean_square(parameters) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(parameters, lr=1e-3, momentum=0.9, centered=True)


def inverted_blocks_float16() -> Step:
    return training(_inverted_network(nn.SiLU), _classes, precision=torch.float16, optimizer=_root_mean_square)


def inverted_blocks_channels_last_bfloat16() -> Step:
    model = _inverted_network(nn.Hardswish).to(memory_format=torch.channels_last)

    def loss_of(model: nn.Module) -> torch.Tensor:
        pictures = images(16, 128).to(memory_format=torch.channels_last)
        return functional.cross_entropy(model(pictures), torch.randint(0, 100, (16,)).cuda())
    return training(model, loss_of, precision=torch.bfloat16, optimizer=_momentum)


class _TimedBlock(nn.Module):
    """Group norm, convolution, and the time step added to every channel."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(8, inside), nn.SiLU(), nn.Conv2d(inside, outside, 3, padding=1))
        self.time = nn.Linear(256, outside)
        self.second = nn.Sequential(
            nn.GroupNorm(8, outside), nn.SiLU(), nn.Dropout(0.1), nn.Conv2d(outside, outside, 3, padding=1))
        self.skip = nn.Conv2d(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return self.skip(x) + self.second(self.first(x) + self.time(time)[:, :, None, None])


class _Mixing(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.inner, self.outer = nn.Conv1d(width, 3 * width, 1), nn.Conv1d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.inner(self.norm(x).flatten(2)).unflatten(1, (3, 4, -1)).transpose(-1, -2)
        mixed = functional.scaled_dot_product_attention(*parts.unbind(1))
        return x + self.outer(mixed.transpose(-1, -2).flatten(1, 2)).view_as(x)


class _Denoiser(nn.Module):
    """A U-Net of a diffusion model."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding=1)
        self.time = nn.Sequential(nn.Linear(64, 256), nn.SiLU(), nn.Linear(256, 256))
        self.down = nn.ModuleList((_TimedBlock(64, 64), _TimedBlock(64, 128), _TimedBlock(128, 256)))
        self.middle = _Mixing(256)
        self.up = nn.ModuleList((_TimedBlock(512, 128), _TimedBlock(256, 64), _TimedBlock(128, 64)))
        self.head = nn.Sequential(nn.GroupNorm(8, 64), nn.SiLU(), nn.Conv2d(64, 3, 3, padding=1))

    def forward(self, x: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        waves = steps[:, None].float() * torch.exp(torch.arange(32, device=x.device) * (-math.log(10000.0) / 31))
        time = self.time(torch.cat((waves.sin(), waves.cos()), -1))
        x, skips = self.stem(x), []
        for number, block in enumerate(self.down):
            x = block(functional.avg_pool2d(x, 2) if number else x, time)
            skips.append(x)
        x = self.middle(x)
        for number, block in enumerate(self.up):
            x = block(torch.cat((functional.interpolate(x, scale_factor=2.0) if number else x, skips.pop()), 1), time)
        return self.head(x)


def _noise(model: nn.Module) -> torch.Tensor:
    noise = torch.randn(8, 3, 64, 64, device="cuda")
    noisy = images(8, 64) * 0.7 + noise * 0.3
    return functional.mse_loss(model(noisy, torch.randint(0, 1000, (8,), device="cuda")), noise)


def denoiser_float32() -> Step:
    return training(_Denoiser(), _noise, clip=1.0)


def denoiser_bfloat16_ampere() -> Step:
    return training(_Denoiser(), _noise, precision=torch.bfloat16)


def _generator() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(100, 256, 4, 1, 0, bias=False), nn.BatchNorm2d(256), nn.ReLU(True),
        nn.ConvTranspose2d(256, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU(True),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(True),
        nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False), nn.Tanh()).cuda()


def _critic(norm: type[nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 64, 4, 2, 1), nn.LeakyReLU(0.2, True), nn.Conv2d(64, 128, 4, 2, 1), norm(128),
        nn.LeakyReLU(0.2, True), nn.Conv2d(128, 256, 4, 2, 1), norm(256), nn.LeakyReLU(0.2, True),
        nn.Conv2d(256, 1, 4)).cuda()


def adversarial_pair() -> Step:
    generator, critic = _generator(), _critic(nn.BatchNorm2d)
    optimizers = [torch.optim.Adam(part.parameters(), 2e-4, (0.5, 0.999)) for part in (generator, critic)]

    def step() -> None:
        real, made = images(64, 32), generator(torch.randn(64, 100, 1, 1, device="cuda"))
        optimizers[1].zero_grad()
        truth = torch.ones(64, 1, 1, 1, device="cuda")
        loss = functional.binary_cross_entropy_with_logits(critic(real), truth)
        loss = loss + functional.binary_cross_entropy_with_logits(critic(made.detach()), torch.zeros_like(truth))
        loss.backward()
        optimizers[1].step()
        optimizers[0].zero_grad()
        functional.binary_cross_entropy_with_logits(critic(made), truth).backward()
        optimizers[0].step()
    return step


def critic_with_gradient_penalty() -> Step:
    generator, critic = _generator(), _critic(nn.InstanceNorm2d)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-4, (0.0, 0.9))

    def step() -> None:
        real = images(64, 32)
        with torch.no_grad():
            made = generator(torch.randn(64, 100, 1, 1, device="cuda"))
        share = torch.rand(64, 1, 1, 1, device="cuda")
        between = (share * real + (1 - share) * made).requires_grad_()
        slope = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
        penalty = ((slope.flatten(1).norm(2, 1) - 1) ** 2).mean()
        loss = critic(made).mean() - critic(real).mean() + 10 * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return step


def volumes() -> Step:
    model = nn.Sequential(
        nn.Conv3d(1, 16, 3, padding=1), nn.BatchNorm3d(16), nn.ReLU(), nn.MaxPool3d(2), nn.Conv3d(16, 32, 3, padding=1),
        nn.InstanceNorm3d(32, affine=True), nn.LeakyReLU(), nn.Upsample(scale_factor=2, mode="trilinear"),
        nn.ConvTranspose3d(32, 8, 2, 2), nn.GroupNorm(4, 8), nn.ELU(), nn.Conv3d(8, 1, 1))

    def loss_of(model: nn.Module) -> torch.Tensor:
        out = model(torch.randn(2, 1, 32, 48, 48).cuda())
        return (1 - out.sigmoid().mean()) + out.abs().mean()
    return training(model, loss_of, optimizer=_momentum)


class _Segments(nn.Module):
    """Dilated convolutions, pooled pyramids brought back by bilinear interpolation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.branches = nn.ModuleList(nn.Conv2d(64, 64, 3, padding=rate, dilation=rate) for rate in (1, 6, 12))
        self.pyramid = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), nn.Conv2d(64, 32, 1)) for size in (1, 2, 3, 6))
        self.head = nn.Sequential(
            nn.Conv2d(320, 64, 3, padding=1, bias=False), nn.SyncBatchNorm(64), nn.ReLU6(), nn.Conv2d(64, 21, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size, x = x.shape[2:], self.stem(x)
        pooled = [
            functional.interpolate(level(x), x.shape[2:], mode="bilinear", align_corners=False)
            for level in self.pyramid]
        out = self.head(torch.cat([branch(x) for branch in self.branches] + pooled, 1))
        return functional.interpolate(out, size, mode="bilinear", align_corners=False)


def _labels_of_pixels(model: nn.Module) -> torch.Tensor:
    labels = torch.randint(0, 21, (4, 128, 128)).cuda()
    weights = torch.ones(21, device="cuda")
    return functional.cross_entropy(model(images(4, 128)), labels, weights, ignore_index=20)


def segmentation() -> Step:
    return training(_Segments(), _labels_of_pixels, optimizer=_momentum)


def segmentation_float16() -> Step:
    return training(_Segments(), _labels_of_pixels, optimizer=_momentum, precision=torch.float16)


class _Transformed(nn.Module):
    """Warps its input by a learnt affine map, sharpens it, and shuffles channels into pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.where = nn.Sequential(
            nn.Conv2d(3, 8, 7), nn.MaxPool2d(2), nn.ReLU(), nn.AdaptiveMaxPool2d(4), nn.Flatten(), nn.Linear(128, 6))
        self.body = nn.Sequential(
            nn.ReflectionPad2d(2), nn.Conv2d(3, 64, 5), nn.InstanceNorm2d(64, affine=True), nn.PReLU(64),
            nn.ReplicationPad2d(1), nn.Conv2d(64, 48, 3), nn.PixelShuffle(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grid = functional.affine_grid(self.where(x).view(-1, 2, 3), list(x.shape), align_corners=False)
        warped = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
        return self.body(warped) + functional.interpolate(x, scale_factor=4, mode="bicubic")


def _sharpness(model: nn.Module) -> torch.Tensor:
    return functional.l1_loss(model(images(8, 64)), images(8, 256))


def warped_and_enlarged() -> Step:
    return training(_Transformed(), _sharpness)


def warped_and_enlarged_bfloat16() -> Step:
    return training(_Transformed(), _sharpness, precision=torch.bfloat16)


def convolutions_without_cudnn() -> Step:
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=2, dilation=2),
        nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.Conv2d(32, 64, 3, 2, 1, groups=4), nn.GELU(),
        nn.ConvTranspose2d(64, 32, 2, 2), nn.ReLU(), nn.Conv2d(32, 8, 1), nn.Flatten(), nn.Linear(8 * 64 * 64, 100))
    step = training(model, lambda model: functional.cross_entropy(
        model(images(8, 64)), torch.randint(0, 100, (8,)).cuda()))

    def run() -> None:
        with torch.backends.cudnn.flags(enabled=False):
            step()
    return run


def sounds_of_waves() -> Step:
    """Dilated causal convolutions over samples, gated, with weight normalisation."""
    class Gated(nn.Module):
        def __init__(self, dilation: int) -> None:
            super().__init__()
            self.pad = dilation
            self.both = nn.utils.parametrizations.weight_norm(nn.Conv1d(64, 128, 2, dilation=dilation))
            self.out = nn.Conv1d(64, 64, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.out(functional.glu(self.both(functional.pad(x, (self.pad, 0))), 1).tanh())

    model = nn.Sequential(nn.Conv1d(1, 64, 1), *(Gated(2 ** level) for level in range(8)), nn.Conv1d(64, 256, 1))

    def loss_of(model: nn.Module) -> torch.Tensor:
        out = model(torch.randn(4, 1, 8000).cuda())
        return functional.nll_loss(out.log_softmax(1), torch.randint(0, 256, (4, 8000)).cuda())
    return training(model, loss_of)


PROGRAMS = (
    wide_blocks_bfloat16, wide_blocks_float32, inverted_blocks_float16, inverted_blocks_channels_last_bfloat16,
    denoiser_float32, denoiser_bfloat16_ampere, adversarial_pair, critic_with_gradient_penalty, volumes, segmentation,
    segmentation_float16, warped_and_enlarged, warped_and_enlarged_bfloat16, convolutions_without_cudnn,
    sounds_of_waves,
)
