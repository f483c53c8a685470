"""Networks that make or rearrange pictures: modulated, quantised, masked, denoised, found by queries, routed."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .training import Step, images, training


class _Modulated(nn.Module):
    """A layer whose norms are shifted, scaled and gated by an embedding."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.inner, self.outer = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6, elementwise_affine=False) for _ in range(2))
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.change = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        shift, scale, gate, shift_too, scale_too, gate_too = self.change(given)[:, None].chunk(6, -1)
        parts = self.inner(self.norms[0](x) * (1 + scale) + shift).unflatten(-1, (3, self.heads, -1))
        mixed = functional.scaled_dot_product_attention(*parts.permute(2, 0, 3, 1, 4))
        x = x + gate * self.outer(mixed.transpose(1, 2).flatten(2))
        return x + gate_too * self.feed(self.norms[1](x) * (1 + scale_too) + shift_too)


class _Diffusion(nn.Module):
    def __init__(self, width: int = 384) -> None:
        super().__init__()
        self.stem, self.kinds = nn.Conv2d(4, width, 2, 2), nn.Embedding(1001, width)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(_Modulated(width, 6) for _ in range(4))
        self.head = nn.Linear(width, 2 * 2 * 8)

    def forward(self, x: torch.Tensor, time: torch.Tensor, kind: torch.Tensor) -> torch.Tensor:
        waves = time[:, None].float() * torch.exp(-torch.linspace(0, 9.2, 128, device=x.device))
        given = self.time(torch.cat((waves.cos(), waves.sin()), -1)) + self.kinds(kind)
        x = self.stem(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x, given)
        return torch.einsum("nhwpqc->nchpwq", self.head(x).view(-1, 16, 16, 2, 2, 8)).reshape(-1, 8, 32, 32)


def _noise_and_spread(model: nn.Module) -> torch.Tensor:
    noise, time = torch.randn(8, 4, 32, 32, device="cuda"), torch.randint(0, 1000, (8,), device="cuda")
    kind = torch.randint(0, 1000, (8,), device="cuda")
    kind = torch.where(torch.rand(8, device="cuda") < 0.1, 1000, kind)
    out, spread = model(images(8, 32, 4) + noise, time, kind).chunk(2, 1)
    return functional.mse_loss(out, noise) + 1e-3 * spread.exp().mean()


def diffusion_transformer() -> Step:
    return training(_Diffusion(), _noise_and_spread)


def diffusion_transformer_bfloat16() -> Step:
    return training(_Diffusion(), _noise_and_spread, precision=torch.bfloat16, clip=1.0)


class _Styled(nn.Module):
    """Weights of its own for every sample, by one grouped convolution, demodulated; noise; a blurred enlargement."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.weight, self.style = nn.Parameter(torch.randn(outside, inside, 3, 3)), nn.Linear(128, inside)
        self.strength, self.bias = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(outside))
        self.register_buffer("blur", torch.ones(1, 1, 4, 4) / 16)

    def forward(self, x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        batch, channels, height, breadth = x.shape
        weight = self.weight[None] * (self.style(style) + 1)[:, None, :, None, None]
        weight = weight * (weight.pow(2).sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = functional.conv2d(
            x.reshape(1, batch * channels, 2 * height, 2 * breadth), weight.flatten(0, 1), padding=1, groups=batch)
        x = x.view(batch, -1, 2 * height, 2 * breadth)
        x = functional.conv2d(
            functional.pad(x, (1, 2, 1, 2)), self.blur.expand(x.shape[1], -1, -1, -1), groups=x.shape[1])
        x = x + self.strength * torch.randn(batch, 1, *x.shape[2:], device=x.device)
        return functional.leaky_relu(x + self.bias[:, None, None], 0.2) * 2 ** 0.5


class _Styles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Sequential(*(part for _ in range(4) for part in (nn.Linear(128, 128), nn.LeakyReLU(0.2))))
        self.first, self.layers = nn.Parameter(torch.randn(1, 128, 4, 4)), nn.ModuleList(
            (_Styled(128, 128), _Styled(128, 64), _Styled(64, 32)))
        self.colour = nn.Conv2d(32, 3, 1)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        style = self.map(latent * (latent.pow(2).mean(1, keepdim=True) + 1e-8).rsqrt())
        x = self.first.repeat(len(latent), 1, 1, 1)
        for layer in self.layers:
            x = layer(x, style)
        return self.colour(x)


def styles_with_a_path_penalty() -> Step:
    """The length of the way that a step of the latent makes in the picture is part of the loss."""
    def loss_of(model: nn.Module) -> torch.Tensor:
        latent = torch.randn(8, 128, device="cuda", requires_grad=True)
        made = model(latent)
        noise = torch.randn_like(made) / made[0, 0].numel() ** 0.5
        slope = torch.autograd.grad((made * noise).sum(), latent, create_graph=True)[0]
        return functional.softplus(-made.mean((1, 2, 3))).mean() + (slope.square().sum(1).sqrt() - 1).square().mean()
    return training(_Styles(), loss_of)


class _Codes(nn.Module):
    """Each place takes the nearest of many vectors; these follow by moving averages."""

    def __init__(self, width: int = 64, count: int = 512) -> None:
        super().__init__()
        self.into = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(width, width, 3, 1, 1))
        self.out = nn.Sequential(
            nn.ConvTranspose2d(width, width, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(width, 3, 4, 2, 1))
        for name, value in (("book", torch.randn(count, width)), ("sums", torch.randn(count, width)),
                            ("counts", torch.ones(count))):
            self.register_buffer(name, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.into(x).permute(0, 2, 3, 1)
        flat = found.reshape(-1, found.shape[-1])
        with torch.no_grad():
            far = flat.pow(2).sum(1, keepdim=True) - 2 * flat @ self.book.t() + self.book.pow(2).sum(1)
            chosen = far.argmin(1)
            one = functional.one_hot(chosen, len(self.book)).type_as(flat)
            self.counts.mul_(0.99).add_(one.sum(0), alpha=0.01)
            self.sums.mul_(0.99).add_(one.t() @ flat, alpha=0.01)
            self.book.copy_(self.sums / self.counts[:, None])
        code = functional.embedding(chosen, self.book).view_as(found)
        out = self.out((found + (code - found).detach()).permute(0, 3, 1, 2))
        share = one.mean(0)
        return functional.mse_loss(out, x) + 0.25 * functional.mse_loss(found, code) - 0 * (
            share * (share + 1e-10).log()).sum()


def nearest_codes() -> Step:
    return training(_Codes(), lambda model: model(images(16, 64)))


class _Capsules(nn.Module):
    """Vectors vote for vectors; agreement decides how much, three times over."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(1, 128, 9), nn.Conv2d(128, 128, 9, 2)
        self.votes = nn.Parameter(0.01 * torch.randn(10, 576, 16, 8))
        self.back = nn.Sequential(nn.Linear(160, 512), nn.ReLU(), nn.Linear(512, 784), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small = self.first(self.stem(x).relu()).view(len(x), 16, 8, -1)
        small = self._squashed(small.permute(0, 1, 3, 2).flatten(1, 2))
        votes = torch.einsum("jiod,bid->bjio", self.votes, small)
        share = torch.zeros(len(x), 10, 576, device=x.device)
        for turn in range(3):
            kept = votes.detach() if turn < 2 else votes
            out = self._squashed(torch.einsum("bji,bjio->bjo", share.softmax(1), kept))
            if turn < 2:
                share = share + torch.einsum("bjo,bjio->bji", out, kept)
        return out

    def _squashed(self, x: torch.Tensor) -> torch.Tensor:
        size = x.norm(dim=-1, keepdim=True)
        return size.pow(2) / (1 + size.pow(2)) / (size + 1e-8) * x


def capsules() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        x, labels = torch.rand(16, 1, 28, 28, device="cuda"), torch.randint(0, 10, (16,), device="cuda")
        out, own = model(x), functional.one_hot(labels, 10).float()
        size = out.norm(dim=-1)
        margin = own * functional.relu(0.9 - size) ** 2 + 0.5 * (1 - own) * functional.relu(size - 0.1) ** 2
        back = model.back((out * own[..., None]).flatten(1))
        return margin.sum(1).mean() + 0.0005 * functional.mse_loss(back, x.flatten(1), reduction="sum")
    return training(_Capsules(), loss_of)


class _Sketched(nn.Module):
    """A U-Net of strided and transposed convolutions with instance norms and dropout."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = (3, width, 2 * width, 4 * width, 8 * width)
        self.down = nn.ModuleList(nn.Conv2d(*pair, 4, 2, 1) for pair in zip(sizes, sizes[1:]))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(8 * width if n == 0 else 2 * sizes[4 - n], sizes[3 - n], 4, 2, 1) for n in range(4))
        self.norm = nn.InstanceNorm2d(1, affine=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for number, layer in enumerate(self.down):
            x = layer(functional.leaky_relu(x, 0.2) if number else x)
            x = functional.instance_norm(x) if 0 < number < 3 else x
            skips.append(x)
        x = skips.pop()
        for number, layer in enumerate(self.up):
            x = layer(functional.relu(x))
            if number < 3:
                x = torch.cat((functional.dropout(functional.instance_norm(x), 0.5), skips.pop()), 1)
        return x.tanh()


def sketches_to_pictures_float16() -> Step:
    maker = _Sketched().cuda()
    critic = nn.Sequential(
        nn.Conv2d(6, 64, 4, 2, 1), nn.LeakyReLU(0.2, True), nn.Conv2d(64, 128, 4, 2, 1), nn.InstanceNorm2d(128),
        nn.LeakyReLU(0.2, True), nn.Conv2d(128, 1, 4, 1, 1)).cuda()
    optimizers = [torch.optim.Adam(part.parameters(), 2e-4, (0.5, 0.999)) for part in (maker, critic)]
    scalers = [torch.amp.GradScaler("cuda") for _ in range(2)]

    def criticised(pair: torch.Tensor, truth: float) -> torch.Tensor:
        out = critic(pair)
        return functional.mse_loss(out.float(), torch.full_like(out, truth, dtype=torch.float32))

    def step() -> None:
        sketch, real = images(8, 64), images(8, 64)
        with torch.autocast("cuda", dtype=torch.float16):
            made = maker(sketch)
            loss = criticised(torch.cat((sketch, real), 1), 1.0)
            loss = loss + criticised(torch.cat((sketch, made.detach()), 1), 0.0)
        optimizers[1].zero_grad()
        scalers[1].scale(loss).backward()
        scalers[1].step(optimizers[1])
        scalers[1].update()
        with torch.autocast("cuda", dtype=torch.float16):
            loss = criticised(torch.cat((sketch, made), 1), 1.0) + 100 * functional.l1_loss(made, real)
        optimizers[0].zero_grad()
        scalers[0].scale(loss).backward()
        scalers[0].step(optimizers[0])
        scalers[0].update()
    return step


class _Hidden(nn.Module):
    """Most patches are left out in random order, and put back by a small decoder."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.stem, self.token = nn.Conv2d(3, width, 8, 8), nn.Parameter(torch.zeros(1, 1, 128))
        self.encoder, self.decoder = (nn.TransformerEncoder(nn.TransformerEncoderLayer(
            size, size // 64, 4 * size, 0.0, "gelu", batch_first=True, norm_first=True), depth,
            enable_nested_tensor=False) for size, depth in ((width, 4), (128, 2)))
        self.into, self.head = nn.Linear(width, 128), nn.Linear(128, 192)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = self.stem(x).flatten(2).transpose(1, 2)
        batch, count, width = patches.shape
        order = torch.rand(batch, count, device=x.device).argsort(1)
        back, kept = order.argsort(1), order[:, :count // 4]
        seen = self.into(self.encoder(patches.gather(1, kept[..., None].expand(-1, -1, width))))
        whole = torch.cat((seen, self.token.expand(batch, count - seen.shape[1], -1).to(seen.dtype)), 1)
        out = self.head(self.decoder(whole.gather(1, back[..., None].expand(-1, -1, 128))))
        target = functional.pixel_unshuffle(x, 8).flatten(2).transpose(1, 2)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
        hidden = torch.ones(batch, count, device=x.device).scatter_(1, kept, 0.0)
        return ((out - target).pow(2).mean(-1) * hidden).sum() / hidden.sum()


def hidden_patches_bfloat16() -> Step:
    return training(_Hidden(), lambda model: model(images(16, 128)), precision=torch.bfloat16)


PROGRAMS = (
    diffusion_transformer, diffusion_transformer_bfloat16, styles_with_a_path_penalty, nearest_codes, capsules,
    sketches_to_pictures_float16, hidden_patches_bfloat16,
)
