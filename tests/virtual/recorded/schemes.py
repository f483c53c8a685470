"""Ways to train: teachers, crops, queues, decorrelation, adapters on bytes, reversible blocks, energies, transport."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .training import Step, images, tokens, training


class _Residual(nn.Module):
    """A small residual network; what its stages made is given out too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.stages = nn.ModuleList(nn.Sequential(
            nn.BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, 2 * inside, 3, 2, 1, bias=False),
            nn.BatchNorm2d(2 * inside), nn.ReLU(), nn.Conv2d(2 * inside, 2 * inside, 3, 1, 1, bias=False))
            for inside in (width, 2 * width))
        self.head = nn.Linear(4 * width, 100)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        x, seen = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        return self.head(functional.adaptive_avg_pool2d(x.relu(), 1).flatten(1)), seen


def attention_of_a_teacher_float16() -> Step:
    """A small network follows a large one: its answers, and where it looks."""
    teacher = _Residual(64).cuda().eval().requires_grad_(False)

    def loss_of(model: nn.Module) -> torch.Tensor:
        x, labels = images(32, 32), torch.randint(0, 100, (32,), device="cuda")
        with torch.no_grad():
            wanted, shown = teacher(x)
        out, seen = model(x)
        soft = functional.kl_div(
            functional.log_softmax(out / 4, 1), functional.softmax(wanted / 4, 1), reduction="batchmean") * 16
        looks = sum(
            (functional.normalize(own.pow(2).mean(1).flatten(1)) - functional.normalize(
                truth.pow(2).mean(1).flatten(1))).pow(2).mean() for own, truth in zip(seen, shown))
        return 0.1 * functional.cross_entropy(out, labels) + 0.9 * soft + 1000 * looks
    return training(
        _Residual(24), loss_of, precision=torch.float16,
        optimizer=lambda given: torch.optim.SGD(given, 0.05, 0.9, nesterov=True))


class _Crops(nn.Module):
    def __init__(self, width: int = 192) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, width, 16, 16), nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(torch.zeros(1, width, 6, 6))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 3, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(3))
        self.head = nn.Sequential(nn.Linear(width, 512), nn.GELU(), nn.Linear(512, 128))
        self.last = nn.utils.parametrizations.weight_norm(nn.Linear(128, 4096, bias=False))

    def forward(self, crops: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([self._of_one_size(crop) for crop in crops])

    def _of_one_size(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = x + functional.interpolate(self.places, x.shape[2:], mode="bicubic", align_corners=False)
        x = torch.cat((self.first.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)), 1)
        for layer in self.layers:
            x = layer(x)
        return self.last(functional.normalize(self.head(x[:, 0]), dim=-1))


def crops_without_labels_bfloat16() -> Step:
    """Small crops must say what a slow copy says of the large ones; its mean is taken off."""
    student, teacher = _Crops().cuda(), _Crops().cuda()
    teacher.load_state_dict(student.state_dict())
    teacher.requires_grad_(False)
    centre = torch.zeros(1, 4096, device="cuda")
    optimizer = torch.optim.AdamW([
        {"params": [part for part in student.parameters() if part.dim() > 1]},
        {"params": [part for part in student.parameters() if part.dim() == 1], "weight_decay": 0.0}])

    def step() -> None:
        crops = [images(16, 96), images(24, 48)]
        with torch.autocast("cuda", dtype=torch.bfloat16):
            with torch.no_grad():
                wanted = teacher(crops[:1]).float()
            out = student(crops).float().div(0.1).split(8)
            soft = ((wanted - centre) / 0.04).softmax(-1).chunk(2)
            losses = [
                -(part * one.log_softmax(-1)).sum(-1).mean()
                for number, part in enumerate(soft) for other, one in enumerate(out) if number != other]
            loss = torch.stack(losses).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for part in student.parameters():
            part.grad.data.mul_((3.0 / (part.grad.data.norm(2) + 1e-6)).clamp(max=1))
        optimizer.step()
        with torch.no_grad():
            centre.mul_(0.9).add_(wanted.mean(0, keepdim=True), alpha=0.1)
            for own, follows in zip(student.parameters(), teacher.parameters()):
                follows.data.mul_(0.996).add_(0.004 * own.detach().data)
    return step


class _Trusted(torch.optim.Optimizer):
    """Rates by layer: the norm of the weight over that of its gradient."""

    def __init__(self, given: Iterable[nn.Parameter]) -> None:
        super().__init__(given, {"lr": 0.2, "momentum": 0.9, "weight_decay": 1e-6})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for part in group["params"]:
                slope = part.grad
                if part.ndim != 1:
                    slope = slope.add(part, alpha=group["weight_decay"])
                    size, steep = torch.norm(part), torch.norm(slope)
                    one = torch.ones_like(size)
                    rate = torch.where(size > 0.0, torch.where(steep > 0, 0.001 * size / steep, one), one)
                    slope = slope.mul(rate)
                state = self.state[part]
                if "mu" not in state:
                    state["mu"] = torch.zeros_like(part)
                state["mu"].mul_(group["momentum"]).add_(slope)
                part.add_(state["mu"], alpha=-group["lr"])


def without_redundancy() -> Step:
    """Two views agree, and their columns do not repeat each other."""
    model = nn.ModuleList((_Residual(32), nn.Sequential(
        nn.Linear(100, 1024, bias=False), nn.BatchNorm1d(1024), nn.ReLU(), nn.Linear(1024, 1024, bias=False)),
        nn.BatchNorm1d(1024, affine=False)))

    def loss_of(model: nn.Module) -> torch.Tensor:
        one, other = (model[1](model[0](images(64, 32))[0]) for _ in range(2))
        cross = model[2](one).T @ model[2](other) / 64
        off = cross.flatten()[:-1].view(1023, 1025)[:, 1:].flatten()
        hinge = sum(functional.relu(1 - (part.var(0) + 1e-4).sqrt()).mean() for part in (one, other))
        return torch.diagonal(cross).add_(-1).pow_(2).sum() + 0.005 * off.pow(2).sum() + hinge
    return training(model, loss_of, optimizer=_Trusted)


def keys_in_a_queue_float16() -> Step:
    """Two towers; the slow one's keys wait in a queue as the wrong answers of later steps."""
    def tower() -> nn.Module:
        return nn.Sequential(
            nn.EmbeddingBag(30000, 256, mode="mean"), nn.Linear(256, 512), nn.LayerNorm(512), nn.GELU(),
            nn.Linear(512, 128)).cuda()

    query, key = tower(), tower()
    key.load_state_dict(query.state_dict())
    key.requires_grad_(False)
    queue, at = functional.normalize(torch.randn(128, 4096, device="cuda"), dim=0), torch.zeros(1, dtype=torch.long)
    optimizer, scaler = torch.optim.SGD(query.parameters(), 0.03, 0.9, weight_decay=1e-4), torch.amp.GradScaler("cuda")

    def step() -> None:
        with torch.autocast("cuda", dtype=torch.float16):
            asked = functional.normalize(query(tokens(256, 20, 30000)), dim=1)
            with torch.no_grad():
                for own, other in zip(key.parameters(), query.parameters()):
                    own.data = own.data * 0.999 + other.data * 0.001
                order = torch.randperm(256, device="cuda")
                keys = functional.normalize(key(tokens(256, 20, 30000)[order]), dim=1)[torch.argsort(order)]
            right = torch.einsum("nc,nc->n", asked, keys).unsqueeze(-1)
            wrong = torch.einsum("nc,ck->nk", asked, queue.clone().detach())
            logits = torch.cat((right, wrong), 1) / 0.07
            loss = functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device="cuda"))
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        start = int(at)
        queue[:, start: start + 256] = keys.T
        at[0] = (start + 256) % 4096
    return step


class _Bytes(nn.Module):
    """A frozen layer kept as bytes with a scale for each row, and a learnt product of two narrow ones beside it."""

    def __init__(self, inside: int, outside: int, rank: int = 8) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randint(-127, 127, (outside, inside), dtype=torch.int8))
        self.register_buffer("scale", torch.rand(outside, 1, dtype=torch.bfloat16))
        self.into = nn.Linear(inside, rank, bias=False, dtype=torch.bfloat16)
        self.out = nn.Linear(rank, outside, bias=False, dtype=torch.bfloat16)
        self.drop = nn.Dropout(0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight.to(torch.bfloat16) * self.scale
        return functional.linear(x, weight) + 2 * self.out(self.into(self.drop(x)))


class _OnBytes(nn.Module):
    def __init__(self, width: int = 512, heads: int = 8) -> None:
        super().__init__()
        self.heads, self.inner, self.outer = heads, _Bytes(width, 3 * width), _Bytes(width, width)
        self.gate, self.up, self.down = _Bytes(width, 1024), _Bytes(width, 1024), _Bytes(1024, width)
        self.norms = nn.ModuleList(nn.RMSNorm(width, dtype=torch.bfloat16) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.inner(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.outer(functional.scaled_dot_product_attention(*parts, is_causal=True).transpose(1, 2).flatten(2))
        normed = self.norms[1](x)
        return x + self.down(functional.silu(self.gate(normed)) * self.up(normed))


def adapters_beside_bytes() -> Step:
    words = nn.Embedding(8000, 512, dtype=torch.bfloat16).requires_grad_(False).cuda()

    def loss_of(model: nn.Module) -> torch.Tensor:
        ids = tokens(2, 256, 8000)
        x = words(ids).requires_grad_()
        for block in model:
            x = checkpoint(block, x, use_reentrant=True)
        logits = functional.linear(x, words.weight)[:, :-1].float()
        return functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    return training(nn.ModuleList(_OnBytes() for _ in range(4)), loss_of, clip=0.3)


class _Reversed(torch.autograd.Function):
    """Blocks whose inputs are computed back from their outputs; nothing in between is kept."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, blocks: nn.ModuleList, *weights: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            one, other = x.chunk(2, 1)
            for block in blocks:
                one = one + block[0](other)
                other = other + block[1](one)
            out = torch.cat((one, other), 1)
        ctx.blocks, ctx.out = blocks, out.detach()
        return out

    @staticmethod
    def backward(ctx, grad: torch.Tensor):
        (one, other), (slope, slope_too) = ctx.out.chunk(2, 1), grad.chunk(2, 1)
        del ctx.out
        found: list[torch.Tensor] = []
        for block in reversed(ctx.blocks):
            with torch.enable_grad():
                given = one.detach().requires_grad_()
                moved = block[1](given)
                slopes = torch.autograd.grad(moved, (given, *block[1].parameters()), slope_too)
            other, slope = other - moved.detach(), slope + slopes[0]
            late = slopes[1:]
            with torch.enable_grad():
                given = other.detach().requires_grad_()
                moved = block[0](given)
                slopes = torch.autograd.grad(moved, (given, *block[0].parameters()), slope)
            one, slope_too = one - moved.detach(), slope_too + slopes[0]
            found = [*slopes[1:], *late, *found]
        return torch.cat((slope, slope_too), 1), None, *found


def blocks_computed_back() -> Step:
    def half() -> nn.Module:
        return nn.Sequential(
            nn.GroupNorm(4, 32), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.GroupNorm(4, 32), nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1, bias=False))

    model = nn.ModuleList((
        nn.Conv2d(3, 64, 3, padding=1), nn.ModuleList(nn.ModuleList((half(), half())) for _ in range(4)),
        nn.Linear(64, 10)))

    def loss_of(model: nn.Module) -> torch.Tensor:
        x = _Reversed.apply(model[0](images(32, 32)), model[1], *model[1].parameters())
        return functional.cross_entropy(model[2](x.mean((2, 3))), torch.randint(0, 10, (32,), device="cuda"))
    return training(model, loss_of, optimizer=lambda given: torch.optim.SGD(given, 0.1, 0.9))


def energies_from_noise() -> Step:
    """Samples walk down the energy by its slope, wait in a buffer on the host, and are pushed up again."""
    energy = nn.Sequential(
        nn.Conv2d(1, 32, 5, 2, 4), nn.SiLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.SiLU(), nn.Conv2d(64, 128, 3, 2, 1),
        nn.SiLU(), nn.Flatten(), nn.Linear(2048, 64), nn.SiLU(), nn.Linear(64, 1)).cuda()
    optimizer = torch.optim.Adam(energy.parameters(), 1e-4, (0.0, 0.999))
    buffer = torch.rand(512, 1, 28, 28)

    def walked(x: torch.Tensor) -> torch.Tensor:
        energy.requires_grad_(False)
        x = x.requires_grad_(True)
        noise = torch.empty_like(x, requires_grad=False)
        for _ in range(10):
            noise.normal_(0, 0.005)
            x.data.add_(noise.data).clamp_(-1.0, 1.0)
            (-energy(x)).sum().backward()
            x.grad.data.clamp_(-0.03, 0.03)
            x.data.add_(-10 * x.grad.data)
            x.grad.detach_()
            x.grad.zero_()
        energy.requires_grad_(True)
        return x.detach()

    def step() -> None:
        rows = torch.randint(0, 512, (64,))
        made = walked(buffer[rows].cuda())
        buffer[rows] = made.cpu()
        real, wrong = energy(torch.cat((images(64, 28, 1), made))).chunk(2)
        optimizer.zero_grad()
        (0.1 * (real ** 2 + wrong ** 2).mean() + wrong.mean() - real.mean()).backward()
        nn.utils.clip_grad_norm_(energy.parameters(), 0.1)
        optimizer.step()
    return step


def transport_between_sets() -> Step:
    """Twenty turns of normalisation, in logarithms, make the plan whose cost is the loss."""
    model = nn.Sequential(nn.Linear(32, 256), nn.LeakyReLU(0.2), nn.Linear(256, 256), nn.Softsign(), nn.Linear(256, 16))

    def loss_of(model: nn.Module) -> torch.Tensor:
        one, other = model(torch.randn(512, 32, device="cuda")), torch.randn(640, 16, device="cuda")
        cost = torch.cdist(one, other, p=1.0) + (one[:, None] - other[None]).square().sum(-1)
        here, there = torch.zeros(512, device="cuda"), torch.zeros(640, device="cuda")
        for _ in range(20):
            here = -0.1 * torch.logsumexp((there[None] - cost) / 0.1, 1)
            there = -0.1 * torch.logsumexp((here[:, None] - cost) / 0.1, 0)
        plan = torch.exp((here[:, None] + there[None] - cost) / 0.1)
        return (plan * cost).sum() + 1e-3 * functional.softplus(one).pow(2).mean()
    return training(model, loss_of)


def answers_in_groups_bfloat16_ampere() -> Step:
    """Words drawn one by one, ranked within their group, then made likelier or not, near a frozen copy."""
    class Writer(nn.Module):
        def __init__(self, width: int = 256) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(3000, width), nn.Embedding(64, width)
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, batch_first=True, norm_first=True)
                for _ in range(3))
            self.head = nn.Linear(width, 3000, bias=False)

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            x = self.words(words) + self.places.weight[: words.shape[1]]
            hidden = torch.ones(words.shape[1], words.shape[1], dtype=torch.bool, device=x.device).triu(1)
            for layer in self.layers:
                x = layer(x, hidden)
            return self.head(x)

    model = Writer().cuda()
    frozen = copy.deepcopy(model).requires_grad_(False).eval()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-6, weight_decay=0.1)

    def likely(of: nn.Module, words: torch.Tensor) -> torch.Tensor:
        scores = of(words)[:, 7:-1].float()
        return scores.gather(-1, words[:, 8:, None])[..., 0] - scores.logsumexp(-1)

    def step() -> None:
        words = tokens(4, 8, 3000).repeat_interleave(4, 0)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            with torch.no_grad():
                for _ in range(16):
                    shares = (model(words)[:, -1].float() / 0.9).softmax(-1)
                    words = torch.cat((words, torch.multinomial(shares, 1)), 1)
                before, kept = likely(model, words), likely(frozen, words)
            reward = torch.rand(4, 4, device="cuda")
            gain = ((reward - reward.mean(1, keepdim=True)) / (reward.std(1, keepdim=True) + 1e-4)).view(-1, 1)
            for _ in range(2):
                now = likely(model, words)
                ratio, apart = torch.exp(now - before), torch.exp(kept - now) - (kept - now) - 1
                loss = -(torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain) - 0.04 * apart).mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                optimizer.step()
    return step


PROGRAMS = (
    attention_of_a_teacher_float16, crops_without_labels_bfloat16, without_redundancy, keys_in_a_queue_float16,
    adapters_beside_bytes, blocks_computed_back, energies_from_noise, transport_between_sets,
    answers_in_groups_bfloat16_ampere,
)
