"""Pictures again: windows and covariances, mixed normalisations, video, adversaries, quantised codes, unfolding."""

from __future__ import annotations

import functools

import torch
from torch import nn
from torch.nn import functional

from .training import Step, images, training, without_cudnn


def _classes(model: nn.Module) -> torch.Tensor:
    return functional.cross_entropy(model(images(8, 128)), torch.randint(0, 100, (8,)).cuda())


class _Merge(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [x[:, down::2, across::2] for across in (0, 1) for down in (0, 1)]
        return self.linear(self.norm(torch.cat(parts, -1)))


class _CosineWindow(nn.Module):
    """Windows with scores by cosine, a bias from a network of log distances, and a mask where they are shifted."""

    def __init__(self, width: int, heads: int, shift: int, window: int = 8) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.inner, self.outer = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.scale = nn.Parameter(torch.zeros(heads, 1, 1))
        self.bias = nn.Sequential(nn.Linear(2, 128), nn.ReLU(inplace=True), nn.Linear(128, heads, bias=False))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.1), nn.Linear(4 * width, width))
        count = 2 * window - 1
        self.register_buffer("distances", torch.randn(1, count, count, 2))
        self.register_buffer("places", torch.randint(0, count ** 2, (window ** 2, window ** 2)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.norms[0](self._mixed(x))
        return x + self.norms[1](self.feed(x))

    def _mixed(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, breadth, width = x.shape
        size, parts = self.window, height // self.window
        x = torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        windows = x.view(batch, parts, size, parts, size, width).permute(0, 1, 3, 2, 4, 5).reshape(-1, size ** 2, width)
        q, k, v = self.inner(windows).reshape(len(windows), size ** 2, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).transpose(-2, -1)
        scores = scores * torch.clamp(self.scale, max=4.6).exp()
        table = 16 * torch.sigmoid(self.bias(self.distances).view(-1, self.heads))
        scores = scores + table[self.places.view(-1)].view(size ** 2, size ** 2, -1).permute(2, 0, 1)[None]
        if self.shift:
            mask = self._mask(height, x.device)
            scores = (scores.view(batch, len(mask), *scores.shape[1:]) + mask[None, :, None]).view_as(scores)
        out = (scores.softmax(-1) @ v).transpose(1, 2).reshape(windows.shape)
        out = self.outer(out).view(batch, parts, parts, size, size, width).permute(0, 1, 3, 2, 4, 5)
        out = out.reshape(batch, height, breadth, width)
        return torch.roll(out, (self.shift, self.shift), (1, 2)) if self.shift else out

    def _mask(self, height: int, device: torch.device) -> torch.Tensor:
        numbers, parts = torch.zeros(1, height, height, 1, device=device), height // self.window
        cuts = (slice(0, -self.window), slice(-self.window, -self.shift), slice(-self.shift, None))
        for number, (down, across) in enumerate((down, across) for down in cuts for across in cuts):
            numbers[:, down, across] = number
        flat = numbers.view(parts, self.window, parts, self.window).transpose(1, 2).reshape(parts ** 2, -1)
        apart = flat[:, None] - flat[:, :, None]
        return apart.masked_fill(apart != 0, -100.0).masked_fill(apart == 0, 0.0)


class _CosineWindows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 64, 4, 4), nn.LayerNorm(64)
        self.blocks = nn.Sequential(
            _CosineWindow(64, 2, 0), _CosineWindow(64, 2, 4), _Merge(64), _CosineWindow(128, 4, 0),
            _CosineWindow(128, 4, 4), nn.LayerNorm(128))
        self.head = nn.Linear(128, 100)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(x).flatten(2).transpose(1, 2)).unflatten(1, (32, 32))
        return self.head(self.blocks(x).flatten(1, 2).mean(1))


def cosine_windows() -> Step:
    return training(_CosineWindows(), _classes, clip=5.0)


def cosine_windows_bfloat16_ampere() -> Step:
    return training(_CosineWindows(), _classes, precision=torch.bfloat16)


class _Covariance(nn.Module):
    """Attention between channels, then depthwise convolutions between patches."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.temperature = heads, nn.Parameter(torch.ones(heads, 1, 1))
        self.inner, self.outer = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.local = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width), nn.GELU(), nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 3, padding=1, groups=width))
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.scales = nn.ParameterList(torch.ones(width) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, count, width = x.shape
        q, k, v = self.inner(self.norms[0](x)).reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 4, 1)
        q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
        scores = (q @ k.transpose(-2, -1) * self.temperature).softmax(-1)
        x = x + self.scales[0] * self.outer((scores @ v).permute(0, 3, 1, 2).reshape(batch, count, width))
        side = int(count ** 0.5)
        local = self.local(self.norms[1](x).permute(0, 2, 1).reshape(batch, width, side, side))
        x = x + self.scales[1] * local.reshape(batch, width, count).permute(0, 2, 1)
        return x + self.scales[2] * self.feed(self.norms[2](x))


class _Covariances(nn.Module):
    def __init__(self, width: int = 192) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, 2, 1, bias=False), nn.BatchNorm2d(width // 2), nn.GELU(),
            nn.Conv2d(width // 2, width, 3, 4, 1, bias=False), nn.BatchNorm2d(width))
        self.blocks = nn.Sequential(*(_Covariance(width) for _ in range(3)))
        self.head = nn.Linear(width, 100)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x).flatten(2).transpose(1, 2)).mean(1))


def attention_between_channels() -> Step:
    return training(_Covariances(), _classes)


def attention_between_channels_float16() -> Step:
    return training(_Covariances(), _classes, precision=torch.float16, clip=1.0)


class _Reduced(nn.Module):
    """Attention to a strided copy of the patches, and a feed-forward layer with a depthwise convolution in it."""

    def __init__(self, width: int, heads: int, stride: int) -> None:
        super().__init__()
        self.heads, self.norms = heads, nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.query, self.pair = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.outer = nn.Linear(width, width)
        self.shrink = nn.Conv2d(width, width, stride, stride)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.local = nn.Conv2d(4 * width, 4 * width, 3, padding=1, groups=4 * width)

    def forward(self, x: torch.Tensor, side: int) -> torch.Tensor:
        batch, count, width = x.shape
        normed = self.norms[0](x)
        query = self.query(normed).view(batch, count, self.heads, -1).transpose(1, 2)
        small = self.shrink(normed.transpose(1, 2).reshape(batch, width, side, side)).flatten(2).transpose(1, 2)
        key, value = self.pair(self.norms[1](small)).view(batch, -1, 2, self.heads, width // self.heads).permute(
            2, 0, 3, 1, 4)
        scores = (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5).softmax(-1)
        x = x + self.outer((scores @ value).transpose(1, 2).reshape(batch, count, width))
        wide = self.up(self.norms[2](x))
        local = self.local(wide.transpose(1, 2).view(batch, -1, side, side)).flatten(2).transpose(1, 2)
        return x + self.down(functional.gelu(local))


class _Segments(nn.Module):
    def __init__(self, widths: tuple[int, ...] = (32, 64, 160)) -> None:
        super().__init__()
        pairs = zip((3, *widths), widths)
        self.stems = nn.ModuleList(
            nn.Conv2d(*pair, 7 - 4 * bool(n), 4 - 2 * bool(n), 3 - 2 * bool(n)) for n, pair in enumerate(pairs))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.blocks = nn.ModuleList(_Reduced(width, width // 32, 4 // 2 ** n) for n, width in enumerate(widths))
        self.sides = nn.ModuleList(nn.Linear(width, 128) for width in widths)
        self.fuse = nn.Sequential(nn.Conv2d(384, 128, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Conv2d(128, 19, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: list[torch.Tensor] = []
        for stem, norm, block, side in zip(self.stems, self.norms, self.blocks, self.sides):
            x = stem(x)
            size = x.shape[-1]
            x = block(norm(x.flatten(2).transpose(1, 2)), size).transpose(1, 2).reshape(len(x), -1, size, size)
            level = side(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(len(x), -1, size, size)
            target = found[0].shape[2:] if found else level.shape[2:]
            found.append(functional.interpolate(level, target, mode="bilinear", align_corners=False))
        return self.head(self.fuse(torch.cat(found[::-1], 1)))


def _pixels(model: nn.Module) -> torch.Tensor:
    out = functional.interpolate(model(images(4, 128)), (128, 128), mode="bilinear", align_corners=False)
    return functional.cross_entropy(out, torch.randint(0, 19, (4, 128, 128)).cuda(), ignore_index=255)


def segments_by_reduced_attention() -> Step:
    return training(_Segments(), _pixels)


def segments_by_reduced_attention_bfloat16() -> Step:
    return training(_Segments(), _pixels, precision=torch.bfloat16)


class _Standardized(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        variance, mean = torch.var_mean(self.weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
        weight = (self.weight - mean) / torch.sqrt(variance + 1e-10)
        return functional.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class _Preactivated(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(16, width) for width in (inside, outside // 4, outside // 4))
        self.convs = nn.ModuleList((
            _Standardized(inside, outside // 4, 1, bias=False),
            _Standardized(outside // 4, outside // 4, 3, stride, 1, bias=False),
            _Standardized(outside // 4, outside, 1, bias=False)))
        self.skip = _Standardized(inside, outside, 1, stride, bias=False) if inside != outside else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = functional.relu(self.norms[0](x))
        kept = x if self.skip is None else self.skip(out)
        out = self.convs[0](out)
        for norm, conv in zip(self.norms[1:], self.convs[1:]):
            out = conv(functional.relu(norm(out), inplace=True))
        return out + kept


def _standardized_network() -> nn.Module:
    return nn.Sequential(
        _Standardized(3, 64, 7, 2, 3, bias=False), nn.ConstantPad2d(1, 0), nn.MaxPool2d(3, 2),
        _Preactivated(64, 128, 1), _Preactivated(128, 128, 1), _Preactivated(128, 256, 2), nn.GroupNorm(16, 256),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(256, 100, 1), nn.Flatten())


def _momentum(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, 0.03, momentum=0.9)


def standardized_weights() -> Step:
    return training(_standardized_network(), _classes, optimizer=_momentum)


def standardized_weights_float16() -> Step:
    return training(_standardized_network(), _classes, optimizer=_momentum, precision=torch.float16, accumulation=2)


def _factored(inside: int, outside: int, stride: int) -> nn.Module:
    middle = (inside * outside * 27) // (inside * 9 + 3 * outside)
    return nn.Sequential(
        nn.Conv3d(inside, middle, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False), nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True), nn.Conv3d(middle, outside, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
        nn.BatchNorm3d(outside), nn.ReLU(inplace=True))


def _video(model: nn.Module) -> torch.Tensor:
    film = torch.randn(2, 3, 8, 56, 56).cuda().to(memory_format=torch.channels_last_3d)
    return functional.cross_entropy(model(film), torch.randint(0, 50, (2,)).cuda())


def films_channels_last_float16() -> Step:
    model = nn.Sequential(
        _factored(3, 32, 1), _factored(32, 64, 2), _factored(64, 64, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        nn.Linear(64, 50)).to(memory_format=torch.channels_last_3d)
    return training(model, _video, precision=torch.float16, optimizer=_momentum)


class _Gathered(nn.Module):
    """Each place mixes its neighbours, unfolded, by weights that it computes itself, and folds them back."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.value, self.scores = heads, nn.Linear(width, width), nn.Linear(width, heads * 81)
        self.pool, self.outer = nn.AvgPool2d(2, 2, ceil_mode=True), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, height, breadth, width = x.shape
        value = functional.unfold(self.value(x).permute(0, 3, 1, 2), 3, padding=1, stride=2)
        value = value.reshape(batch, self.heads, width // self.heads, 9, -1).permute(0, 1, 4, 3, 2)
        scores = self.scores(self.pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        scores = scores.reshape(batch, value.shape[2], self.heads, 9, 9).transpose(1, 2).softmax(-1)
        mixed = (scores @ value).permute(0, 1, 4, 3, 2).reshape(batch, -1, value.shape[2])
        return x + self.outer(functional.fold(mixed, (height, breadth), 3, padding=1, stride=2).permute(0, 2, 3, 1))


class _Outlook(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 96, 4, 4), nn.Sequential(_Gathered(96), nn.LayerNorm(96), _Gathered(96))
        self.head = nn.Linear(96, 100)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x).permute(0, 2, 3, 1)).mean((1, 2)))


def unfolded_and_folded() -> Step:
    return training(_Outlook(), _classes)


def unfolded_and_folded_float16() -> Step:
    return training(_Outlook(), _classes, precision=torch.float16)


def convolutions_of_all_kinds_without_cudnn() -> Step:
    model = nn.Sequential(
        nn.Conv1d(8, 32, 5, 2, 2), nn.ReLU(), nn.ConvTranspose1d(32, 32, 4, 2, 1, groups=4),
        nn.Conv1d(32, 16, 3, dilation=2),
        nn.Unflatten(2, (4, 16, 31)), nn.Conv3d(16, 16, 3, padding=1), nn.ELU(),
        nn.ConvTranspose3d(16, 8, 2, 2), nn.Conv3d(8, 8, (1, 3, 3), dilation=(1, 2, 2), groups=8), nn.Flatten(),
        nn.LazyLinear(20))
    with torch.no_grad():
        model(torch.zeros(1, 8, 1988))
    return without_cudnn(training(model, lambda model: model(torch.randn(4, 8, 1988).cuda()).pow(2).mean()))


def channels_last_without_cudnn_float16() -> Step:
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, 1, 1),
        nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3, 2, 1, groups=64), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(64, 100))
    model = model.to(memory_format=torch.channels_last)
    return without_cudnn(training(model, _classes, precision=torch.float16, optimizer=functools.partial(
        torch.optim.Adagrad, lr=0.01)))


PROGRAMS = (
    cosine_windows, cosine_windows_bfloat16_ampere, attention_between_channels, attention_between_channels_float16,
    segments_by_reduced_attention, segments_by_reduced_attention_bfloat16, standardized_weights,
    standardized_weights_float16, films_channels_last_float16, unfolded_and_folded, unfolded_and_folded_float16,
    convolutions_of_all_kinds_without_cudnn, channels_last_without_cudnn_float16,
)
