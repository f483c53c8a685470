"""Losses, double backward, complex numbers, distributions, functions of functions, own backward passes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .training import Step, tokens, training


class _Letters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer = nn.Conv1d(80, 256, 5, 2, 2), nn.GRU(256, 256, bidirectional=True)
        self.head = nn.Linear(512, 60)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.stem(sound)).permute(2, 0, 1)
        return self.head(self.layer(x)[0]).log_softmax(-1)


def letters_of_speech() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        out = model(torch.randn(8, 80, 400).cuda())
        lengths = [torch.full((8,), value, dtype=torch.long) for value in (200, 30)]
        return functional.ctc_loss(out, torch.randint(1, 60, (8, 30)).cuda(), *lengths)
    return training(_Letters(), loss_of)


def many_losses() -> Step:
    model = nn.Sequential(nn.Linear(256, 1024), nn.Tanh(), nn.Linear(1024, 256))

    def loss_of(model: nn.Module) -> torch.Tensor:
        out, other, third = (model(torch.randn(1024, 256, device="cuda")) for _ in range(3))
        target, signs = torch.randn(1024, 256, device="cuda"), torch.ones(1024, device="cuda")
        few = torch.randint(0, 256, (1024,), device="cuda")
        pairs = (
            functional.smooth_l1_loss(out, target), functional.huber_loss(out, target, delta=0.5),
            functional.l1_loss(out, target, reduction="sum"), functional.gaussian_nll_loss(out, target, other.exp()),
            functional.poisson_nll_loss(out, target.abs()), functional.soft_margin_loss(out, target.sign()),
            functional.kl_div(out.log_softmax(1), target.softmax(1), reduction="batchmean"),
            functional.cosine_embedding_loss(out, other, signs), functional.triplet_margin_loss(out, other, third),
            functional.margin_ranking_loss(out[:, 0], other[:, 0], signs),
            functional.hinge_embedding_loss(out, target.sign()),
            functional.multi_margin_loss(out, few), functional.multilabel_soft_margin_loss(out, target.sigmoid()),
            functional.binary_cross_entropy(out.sigmoid(), target.sigmoid()),
            functional.cross_entropy(out, target.softmax(1)))
        return torch.stack(pairs).sum()
    return training(model, loss_of)


def contrasted_pairs_bfloat16() -> Step:
    model = nn.ModuleList(nn.Sequential(nn.Linear(size, 1024), nn.GELU(), nn.Linear(1024, 256)) for size in (512, 768))

    def loss_of(model: nn.Module) -> torch.Tensor:
        one, other = (functional.normalize(part(torch.randn(2048, size, device="cuda")), dim=-1)
                      for part, size in zip(model, (512, 768)))
        scores, same = one @ other.t() * 14.3, torch.arange(2048, device="cuda")
        return (functional.cross_entropy(scores, same) + functional.cross_entropy(scores.t(), same)) / 2
    return training(model, loss_of, precision=torch.bfloat16)


def complex_layers() -> Step:
    model = nn.Sequential(nn.Linear(256, 512, dtype=torch.cfloat), nn.Linear(512, 128, dtype=torch.cfloat))

    def loss_of(model: nn.Module) -> torch.Tensor:
        out = model(torch.randn(1024, 256, dtype=torch.cfloat, device="cuda"))
        return (out.abs() + out.angle() * 0.1 + out.real * out.imag).mean()
    return training(model, loss_of)


def equation_of_heat() -> Step:
    """Second derivatives of a network by its inputs are part of the loss."""
    inner = [part for _ in range(3) for part in (nn.Linear(256, 256), nn.Tanh())]
    model = nn.Sequential(nn.Linear(2, 256), nn.Tanh(), *inner, nn.Linear(256, 1))

    def loss_of(model: nn.Module) -> torch.Tensor:
        x = torch.rand(8192, 2, device="cuda", requires_grad=True)
        value = model(x)
        slope = torch.autograd.grad(value, x, torch.ones_like(value), create_graph=True)[0]
        curve = torch.autograd.grad(slope[:, 0], x, torch.ones_like(slope[:, 0]), create_graph=True)[0][:, 0]
        return (slope[:, 1] - curve).pow(2).mean() + value.pow(2).mean()
    return training(model, loss_of)


def learning_to_learn() -> Step:
    """The loss after one step of gradient descent, derived through that step."""
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(1568, 20))

    def loss_of(model: nn.Module) -> torch.Tensor:
        total = torch.zeros((), device="cuda")
        for _ in range(4):
            pictures, labels = torch.randn(40, 1, 28, 28, device="cuda"), torch.randint(0, 20, (40,), device="cuda")
            weights = dict(model.named_parameters())
            inner = functional.cross_entropy(torch.func.functional_call(model, weights, pictures[:20]), labels[:20])
            slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
            moved = {name: weight - 0.4 * slope for (name, weight), slope in zip(weights.items(), slopes)}
            outer = torch.func.functional_call(model, moved, pictures[20:])
            total = total + functional.cross_entropy(outer, labels[20:])
        return total
    return training(model, loss_of)


class _Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 800), nn.ReLU(), nn.BatchNorm1d(800), nn.Linear(800, 128))
        self.decoder = nn.Sequential(nn.Linear(64, 800), nn.Softplus(), nn.Linear(800, 784))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, spread = self.encoder(x).chunk(2, -1)
        latent = torch.distributions.Normal(mean, spread.exp(), validate_args=False)
        prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean), validate_args=False)
        seen = torch.distributions.Bernoulli(logits=self.decoder(latent.rsample()), validate_args=False)
        return torch.distributions.kl_divergence(latent, prior).sum(-1).mean() - seen.log_prob(x).sum(-1).mean()


def latent_distributions() -> Step:
    return training(_Autoencoder(), lambda model: model(torch.rand(2048, 784, device="cuda")))


class _Coupling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(32, 512), nn.ReLU(), nn.Linear(512, 64))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        kept, moved = x.chunk(2, -1)
        scale, shift = self.inner(kept).chunk(2, -1)
        scale = torch.tanh(scale)
        return torch.cat((moved * scale.exp() + shift, kept), -1), scale.sum(-1)


def flow_of_couplings() -> Step:
    model = nn.ModuleList(_Coupling() for _ in range(8))

    def loss_of(model: nn.Module) -> torch.Tensor:
        x, volume = torch.randn(8192, 64, device="cuda"), torch.zeros(8192, device="cuda")
        for part in model:
            x, change = part(x)
            volume = volume + change
        return (0.5 * x.pow(2).sum(-1) - volume).mean()
    return training(model, loss_of)


class _Rounded(torch.autograd.Function):
    """Rounds forward, lets the gradient pass backward where the value was in range."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        steps = (x / scale).round().clamp_(-8, 7)
        ctx.save_for_backward(steps, scale)
        return steps * scale

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        steps, scale = ctx.saved_tensors
        inside = (steps > -8) & (steps < 7)
        return grad * inside, (grad * steps).sum().view_as(scale)


class _Quantized(nn.Linear):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside)
        self.scale = nn.Parameter(torch.tensor([0.02]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, _Rounded.apply(self.weight, self.scale), self.bias)


def quantized_weights() -> Step:
    inner = [part for _ in range(3) for part in (_Quantized(1024, 1024), nn.Mish())]
    model = nn.Sequential(*inner, _Quantized(1024, 100))

    def loss_of(model: nn.Module) -> torch.Tensor:
        features, labels = torch.randn(1024, 1024, device="cuda"), torch.randint(0, 100, (1024,), device="cuda")
        return functional.cross_entropy(model(features), labels)
    return training(model, loss_of)


class _Memory(nn.Module):
    """A gated recurrence over time in tensors of state, and mixtures by `einsum`."""

    def __init__(self, width: int = 256, state: int = 16) -> None:
        super().__init__()
        self.words = nn.Embedding(4000, width)
        self.inner, self.outer = nn.Linear(width, 2 * width), nn.Linear(width, 4000)
        self.rates = nn.Parameter(torch.rand(width, state))
        self.parts, self.speed = nn.Linear(width, 2 * state), nn.Linear(width, width)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x, gate = self.inner(self.words(words)).chunk(2, -1)
        into, out = self.parts(x).chunk(2, -1)
        speed = functional.softplus(self.speed(x))
        decay = torch.exp(torch.einsum("btd,dn->btdn", speed, -self.rates))
        added = torch.einsum("btd,btn,btd->btdn", speed, into, x)
        state, seen = torch.zeros_like(added[:, 0]), []
        for time in range(x.shape[1]):
            state = decay[:, time] * state + added[:, time]
            seen.append(torch.einsum("bdn,bn->bd", state, out[:, time]))
        return self.outer(torch.stack(seen, 1) * functional.silu(gate))


def selective_state_spaces() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        words = tokens(8, 48, 4000)
        return functional.cross_entropy(model(words).transpose(1, 2), words)
    return training(_Memory(), loss_of, clip=1.0)


def gradients_of_single_samples() -> Step:
    model = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 10)).cuda()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    def loss_of(weights, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        out = torch.func.functional_call(model, weights, x[None])
        return functional.cross_entropy(out, label[None])

    def step() -> None:
        x, labels = torch.randn(256, 128, device="cuda"), torch.randint(0, 10, (256,), device="cuda")
        found = torch.func.vmap(torch.func.grad(loss_of), in_dims=(None, 0, 0))(weights, x, labels)
        sizes = torch.stack([slope.flatten(1).norm(dim=1) for slope in found.values()]).norm(dim=0)
        for name, slope in found.items():
            shares = (1.0 / (sizes + 1e-6)).clamp(max=1.0).view(-1, *(1,) * (slope.dim() - 1))
            weights[name] = weights[name] - 0.1 * (slope * shares).mean(0)
    return step


PROGRAMS = (
    letters_of_speech, many_losses, contrasted_pairs_bfloat16, complex_layers, equation_of_heat, learning_to_learn,
    latent_distributions, flow_of_couplings, quantized_weights, selective_state_spaces, gradients_of_single_samples,
)
