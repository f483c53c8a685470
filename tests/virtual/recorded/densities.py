"""Densities and distances: mixtures, triangular flows, pixels in order, triplets, splines, made weights, styles."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from .training import Step, images, tokens, training


class _Mixture(nn.Module):
    """Strokes of handwriting: where the pen goes next is a mixture of correlated normals."""

    def __init__(self, hidden: int = 256, count: int = 20) -> None:
        super().__init__()
        self.layers, self.head = nn.LSTM(3, hidden, 2, batch_first=True), nn.Linear(hidden, 6 * count + 1)

    def forward(self, strokes: torch.Tensor) -> torch.Tensor:
        found = self.head(self.layers(strokes[:, :-1])[0])
        end, (share, *means, wide, high, along) = found[..., 0], found[..., 1:].chunk(6, -1)
        wide, high, along = wide.exp(), high.exp(), 0.95 * along.tanh()
        way = [(strokes[:, 1:, number, None] - mean) / spread
               for number, mean, spread in zip((1, 2), means, (wide, high))]
        whole = way[0].square() + way[1].square() - 2 * along * way[0] * way[1]
        rest = 1 - along.square()
        logs = -whole / (2 * rest) - math.log(2 * math.pi) - wide.log() - high.log() - 0.5 * rest.log()
        likely = torch.logsumexp(share.log_softmax(-1) + logs, -1)
        ends = functional.binary_cross_entropy_with_logits(end, strokes[:, 1:, 0], reduction="none")
        return (ends - likely).mean()


def mixtures_of_strokes() -> Step:
    return training(
        _Mixture(), lambda model: model(torch.rand(32, 101, 3).cuda()),
        clip=10.0, optimizer=lambda given: torch.optim.RMSprop(given, 1e-4, 0.95, momentum=0.9))


class _Mixed(nn.Module):
    """An invertible product over the channels, as lower and upper triangles; its volume is a sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.low, self.up = (nn.Parameter(torch.randn(width, width)) for _ in range(2))
        self.logs = nn.Parameter(torch.zeros(width))
        self.register_buffer("order", torch.eye(width)[torch.randperm(width)])
        self.register_buffer("signs", torch.ones(width))
        self.register_buffer("mask", torch.tril(torch.ones(width, width), -1))
        self.scale, self.shift = (nn.Parameter(torch.ones(1, width, 1, 1)) for _ in range(2))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.scale * (x + self.shift)
        low = self.low * self.mask + torch.eye(len(self.low), device=x.device)
        up = self.up * self.mask.t().contiguous() + torch.diag(self.signs * self.logs.exp())
        weight = self.order @ low @ up
        size = x.shape[2] * x.shape[3]
        return functional.conv2d(x, weight[..., None, None]), size * (self.logs.sum() + self.scale.abs().log().sum())


class _Flow(nn.Module):
    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.mixed = _Mixed(width)
        self.net = nn.Sequential(
            nn.Conv2d(width // 2, hidden, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(inplace=True), nn.Conv2d(hidden, width, 3, padding=1))
        self.gain = nn.Parameter(torch.zeros(1, width, 1, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, volume = self.mixed(x)
        one, other = x.chunk(2, 1)
        logs, shift = (self.net(one) * torch.exp(3 * self.gain)).chunk(2, 1)
        scale = torch.sigmoid(logs + 2)
        return torch.cat((one, (other + shift) * scale), 1), volume + scale.log().flatten(1).sum(1)


def triangles_of_a_flow() -> Step:
    """Three scales; half of the channels leaves at each, judged by a learnt prior."""
    widths = (12, 24, 48)
    model = nn.ModuleList((
        nn.ModuleList(nn.ModuleList(_Flow(width) for _ in range(3)) for width in widths),
        nn.ModuleList(nn.Conv2d(width // 2, width, 3, padding=1) for width in widths)))

    def loss_of(model: nn.Module) -> torch.Tensor:
        x = images(16, 32)
        x = x + torch.rand_like(x) / 32
        total = torch.zeros(16, device="cuda")
        for flows, prior in zip(*model):
            x = functional.pixel_unshuffle(x, 2)
            for flow in flows:
                x, volume = flow(x)
                total = total + volume
            x, left = x.chunk(2, 1)
            mean, logs = prior(x).chunk(2, 1)
            total = total - 0.5 * (
                math.log(2 * math.pi) + 2 * logs + (left - mean) ** 2 / torch.exp(2 * logs)).sum((1, 2, 3))
        total = total - 0.5 * (x ** 2 + math.log(2 * math.pi)).sum((1, 2, 3))
        return -total.mean() / (math.log(2) * 3072)
    return training(model, loss_of, optimizer=torch.optim.Adamax)


class _Masked(nn.Conv2d):
    """Sees the rows above, and of its own row what is left of the place."""

    def __init__(self, inside: int, outside: int, size: int, first: bool) -> None:
        super().__init__(inside, outside, size, padding=size // 2)
        mask = torch.ones_like(self.weight)
        mask[:, :, size // 2, size // 2 + (not first):] = 0
        mask[:, :, size // 2 + 1:] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.weight.data *= self.mask
        return super().forward(x)


class _Gated(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.layer, self.given = _Masked(width, 2 * width, 3, False), nn.Linear(10, 2 * width, bias=False)
        self.back, self.skip = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor, kind: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        one, other = (self.layer(functional.elu(x)) + self.given(kind)[..., None, None]).chunk(2, 1)
        out = one.tanh() * other.sigmoid()
        return x + functional.dropout2d(self.back(out), 0.1), self.skip(out)


def pixels_in_order_bfloat16() -> Step:
    """Each pixel of a picture is one of 256 values, given those before it."""
    model = nn.ModuleList((
        _Masked(3, 64, 7, True), nn.ModuleList(_Gated() for _ in range(5)),
        nn.Sequential(nn.ELU(), nn.Conv2d(64, 128, 1), nn.ELU(), nn.Conv2d(128, 3 * 256, 1))))

    def loss_of(model: nn.Module) -> torch.Tensor:
        pixels = torch.randint(0, 256, (8, 3, 32, 32), device="cuda")
        kind = functional.one_hot(torch.randint(0, 10, (8,), device="cuda"), 10).float()
        x, total = model[0](pixels.float() / 127.5 - 1), 0
        for block in model[1]:
            x, skip = block(x, kind)
            total = total + skip
        return functional.cross_entropy(model[2](total).view(8, 256, 3, 32, 32), pixels) / math.log(2)
    return training(model, loss_of, precision=torch.bfloat16)


def triplets_in_a_batch() -> Step:
    """Farthest picture of the same person, nearest of another, and a margin; centres follow beside it."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.InstanceNorm2d(32, affine=True), nn.PReLU(32), nn.Conv2d(32, 64, 3, 2, 1),
        nn.BatchNorm2d(64), nn.PReLU(64), nn.Conv2d(64, 128, 3, 2, 1), nn.BatchNorm2d(128), nn.PReLU(128),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(128, 128), nn.BatchNorm1d(128)).cuda()
    centres = nn.Parameter(torch.randn(16, 128, device="cuda"))
    optimizers = (torch.optim.Adam(model.parameters(), 3e-4, amsgrad=True), torch.optim.SGD([centres], 0.5))
    labels = torch.arange(16).repeat_interleave(4).cuda()

    def step() -> None:
        out = model(images(64, 64))
        squares = out.pow(2).sum(1, keepdim=True).expand(64, 64)
        far = torch.addmm(squares + squares.t(), out, out.t(), beta=1, alpha=-2).clamp(min=1e-12).sqrt()
        same = labels[:, None].eq(labels)
        worst = (far - 1e9 * ~same).amax(1)
        nearest = (far + 1e9 * same).min(1).values
        loss = functional.margin_ranking_loss(nearest, worst, torch.ones_like(worst), margin=0.3)
        loss = loss + 5e-4 * (out - centres[labels]).pow(2).sum(1).clamp(1e-12, 1e12).mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        centres.grad.data *= 1 / 5e-4
        for optimizer in optimizers:
            optimizer.step()
    return step


class _Splines(nn.Module):
    """Every edge has a function of its own: a sum of bumps of third order on a grid."""

    def __init__(self, inside: int, outside: int, places: int = 8) -> None:
        super().__init__()
        self.base = nn.Parameter(torch.randn(outside, inside) / inside ** 0.5)
        self.bumps = nn.Parameter(0.1 * torch.randn(outside, inside, places + 3))
        self.scale = nn.Parameter(torch.ones(outside, inside))
        step = 2 / places
        self.register_buffer("grid", (torch.arange(-3, places + 4) * step - 1).expand(inside, -1).contiguous())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        base = functional.linear(functional.silu(x), self.base)
        spread = self._spread(x).flatten(1)
        return base + functional.linear(spread, (self.bumps * self.scale.unsqueeze(-1)).flatten(1))

    def _spread(self, x: torch.Tensor) -> torch.Tensor:
        x, grid = x.unsqueeze(-1), self.grid
        bases = ((x >= grid[:, :-1]) & (x < grid[:, 1:])).to(x.dtype)
        for order in range(1, 4):
            rising = (x - grid[:, : -(order + 1)]) / (grid[:, order:-1] - grid[:, : -(order + 1)]) * bases[:, :, :-1]
            falling = (grid[:, order + 1:] - x) / (grid[:, order + 1:] - grid[:, 1:-order]) * bases[:, :, 1:]
            bases = rising + falling
        return bases.contiguous()


def splines_on_edges_float16() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        out = model(images(256, 28, 1).flatten(1))
        weight = sum(layer.bumps.abs().mean(-1).sum() for layer in model)
        return functional.cross_entropy(
            out, torch.randint(0, 10, (256,), device="cuda"), label_smoothing=0.1) + 1e-5 * weight
    return training(
        nn.Sequential(_Splines(784, 64), _Splines(64, 10)), loss_of, precision=torch.float16,
        optimizer=lambda given: torch.optim.AdamW(given, 1e-3, fused=True))


def weights_made_for_each_task() -> Step:
    """A network writes the weights of another, which is called once for all tasks."""
    small = nn.Sequential(nn.Linear(40, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 5)).cuda()
    shapes = {name: part.shape for name, part in small.named_parameters()}
    counts = [shape.numel() for shape in shapes.values()]
    maker = nn.Sequential(nn.Linear(32, 128), nn.Mish(), nn.Linear(128, 128), nn.Mish(), nn.Linear(128, sum(counts)))

    def loss_of(model: nn.Module) -> torch.Tensor:
        parts = model(torch.randn(24, 32, device="cuda")).split(counts, 1)
        weights = {name: part.view(-1, *shape) for part, (name, shape) in zip(parts, shapes.items())}
        x, labels = torch.randn(24, 50, 40, device="cuda"), torch.randint(0, 5, (24, 50), device="cuda")
        out = torch.func.vmap(lambda own, given: torch.func.functional_call(small, own, (given,)))(weights, x)
        return functional.cross_entropy(out.transpose(1, 2), labels) + 1e-4 * torch.cat(parts, 1).square().mean()
    return training(maker, loss_of, optimizer=torch.optim.NAdam)


def picture_in_a_style() -> Step:
    """The picture is what is trained, by a second-order method; products of features are the style."""
    layers: list[nn.Module] = []
    for inside, outside in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
    net = nn.Sequential(*layers).cuda().eval().requires_grad_(False)

    def seen(x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for layer in net:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(x)
        return found

    def products(x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(2)
        return torch.bmm(flat, flat.transpose(1, 2)) / flat.shape[1] / flat.shape[2]

    with torch.no_grad():
        content = seen(images(1, 128))[-1].clone()
        style = [products(part) for part in seen(images(1, 128))]
    picture = images(1, 128).requires_grad_()
    optimizer = torch.optim.LBFGS([picture], max_iter=5, history_size=10)

    def closure() -> torch.Tensor:
        with torch.no_grad():
            picture.clamp_(0, 1)
        optimizer.zero_grad()
        found = seen(picture)
        loss = functional.mse_loss(found[-1], content) + 1e5 * sum(
            functional.mse_loss(products(part), wanted) for part, wanted in zip(found, style))
        rough = (picture[..., 1:, :] - picture[..., :-1, :]).abs().mean()
        loss = loss + 1e-3 * (rough + (picture[..., 1:] - picture[..., :-1]).abs().mean())
        loss.backward()
        return loss

    def step() -> None:
        optimizer.step(closure)
    return step


def halved_until_it_fits_turing() -> Step:
    """Only 300 MB of the card may be used; batches are halved after each failure, and what is left is given back."""
    model = nn.Sequential(
        nn.Embedding(5000, 256), nn.TransformerEncoder(
            nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True, activation="gelu"), 3,
            enable_nested_tensor=False), nn.Linear(256, 5000)).cuda()
    optimizer, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cuda")
    torch.cuda.set_per_process_memory_fraction(300e6 / torch.cuda.mem_get_info()[1])

    def tried(batch: int) -> bool:
        try:
            for ids in tokens(32, 128, 5000).split(batch):
                with torch.autocast("cuda", dtype=torch.float16):
                    loss = functional.cross_entropy(model(ids).transpose(1, 2), ids) * len(ids) / 32
                scaler.scale(loss).backward()
        except torch.OutOfMemoryError:
            return False
        return True

    def step() -> None:
        batch = 32
        while not tried(batch):
            optimizer.zero_grad()
            torch.cuda.empty_cache()
            batch //= 2
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    return step


PROGRAMS = (
    mixtures_of_strokes, triangles_of_a_flow, pixels_in_order_bfloat16, triplets_in_a_batch, splines_on_edges_float16,
    weights_made_for_each_task, picture_in_a_style, halved_until_it_fits_turing,
)
