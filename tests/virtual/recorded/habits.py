"""Optimizers in their other forms, adversaries with penalties, averages, masters of half weights, quantisation."""

from __future__ import annotations

import functools

import torch
from torch import nn
from torch.nn import functional

from .training import Step, images, training


def _network(width: int = 768) -> nn.Module:
    parts = [part for _ in range(3) for part in (nn.Linear(width, width), nn.LayerNorm(width), nn.SiLU())]
    return nn.Sequential(*parts, nn.Linear(width, 300))


def _loss(model: nn.Module) -> torch.Tensor:
    features, labels = torch.randn(384, 768, device="cuda"), torch.randint(0, 300, (384,), device="cuda")
    return functional.cross_entropy(model(features), labels)


def _of(kind: type[torch.optim.Optimizer], **options: object) -> Step:
    return training(_network(), _loss, optimizer=functools.partial(kind, **options))


def adadelta() -> Step:
    return _of(torch.optim.Adadelta, weight_decay=0.01)


def adagrad_in_a_loop() -> Step:
    return _of(torch.optim.Adagrad, lr_decay=0.1, weight_decay=0.01, foreach=False)


def adagrad_from_the_start() -> Step:
    return _of(torch.optim.Adagrad, initial_accumulator_value=0.1, maximize=True)


def adam_amsgrad_fused() -> Step:
    return _of(torch.optim.Adam, amsgrad=True, fused=True, weight_decay=0.01)


def adamw_amsgrad_maximized() -> Step:
    return _of(torch.optim.AdamW, amsgrad=True, maximize=True)


def adamw_in_a_loop() -> Step:
    return _of(torch.optim.AdamW, foreach=False, amsgrad=True)


def adamax_capturable() -> Step:
    return _of(torch.optim.Adamax, capturable=True)


def adamax_in_a_loop() -> Step:
    return _of(torch.optim.Adamax, foreach=False)


def nadam_in_a_loop() -> Step:
    return _of(torch.optim.NAdam, foreach=False)


def nadam_capturable() -> Step:
    return _of(torch.optim.NAdam, capturable=True)


def radam_capturable() -> Step:
    return _of(torch.optim.RAdam, capturable=True, decoupled_weight_decay=True, weight_decay=0.1)


def radam_in_a_loop() -> Step:
    return _of(torch.optim.RAdam, foreach=False)


def averaged_sgd_capturable() -> Step:
    return _of(torch.optim.ASGD, capturable=True, weight_decay=0.01)


def resilient_propagation_in_a_loop() -> Step:
    return _of(torch.optim.Rprop, foreach=False)


def root_mean_square_capturable() -> Step:
    return _of(torch.optim.RMSprop, capturable=True, momentum=0.9, weight_decay=0.1)


def sgd_dampened_maximized() -> Step:
    return _of(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.1, weight_decay=0.01, maximize=True)


def adafactor_by_lists() -> Step:
    return _of(torch.optim.Adafactor, foreach=True, weight_decay=0.1)


def orthogonal_updates() -> Step:
    """`Muon` for the matrices, AdamW for the rest."""
    model = _network().cuda()
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    rest = [parameter for parameter in model.parameters() if parameter.dim() != 2]
    optimizers = torch.optim.Muon(matrices, 0.02), torch.optim.AdamW(rest)
    schedules = [torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=10) for optimizer in optimizers]

    def step() -> None:
        _loss(model).backward()
        for optimizer, schedule in zip(optimizers, schedules):
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    return step


def half_weights_with_masters() -> Step:
    """Weights in half precision, their float copies are what the optimizer moves."""
    model = _network().cuda().half()
    own = list(model.parameters())
    masters = [nn.Parameter(parameter.detach().float()) for parameter in own]
    optimizer = torch.optim.Adam(masters, 1e-3)

    def step() -> None:
        features, labels = torch.randn(384, 768, device="cuda").half(), torch.randint(0, 300, (384,), device="cuda")
        (functional.cross_entropy(model(features).float(), labels) * 128.0).backward()
        for master, parameter in zip(masters, own):
            master.grad = parameter.grad.float().div_(128.0)
            parameter.grad = None
        torch.nn.utils.clip_grad_norm_(masters, 1.0, norm_type=float("inf"))
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        with torch.no_grad():
            torch._foreach_copy_(own, masters)
    return step


def accumulated_then_averaged() -> Step:
    """Accumulation, a schedule, and an average of the weights, which is looked at without a graph."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.BatchNorm2d(64),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 100)).cuda()
    average = torch.optim.swa_utils.AveragedModel(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    schedule = torch.optim.swa_utils.SWALR(optimizer, 0.05)

    def step() -> None:
        for _ in range(3):
            functional.cross_entropy(model(images(8, 96)), torch.randint(0, 100, (8,)).cuda()).div(3).backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update_parameters(model)
        schedule.step()
        with torch.no_grad():
            average(images(8, 96))
    return step


def _critic(wrap) -> nn.Module:
    return nn.Sequential(
        wrap(nn.Conv2d(3, 64, 4, 2, 1)), nn.LeakyReLU(0.2), wrap(nn.Conv2d(64, 128, 4, 2, 1)), nn.LeakyReLU(0.2),
        wrap(nn.Conv2d(128, 256, 4, 2, 1)), nn.LeakyReLU(0.2), nn.Flatten(), wrap(nn.Linear(4096, 1))).cuda()


def _generator() -> nn.Module:
    return nn.Sequential(
        nn.Linear(128, 4096), nn.Unflatten(1, (256, 4, 4)), nn.Upsample(scale_factor=2), nn.Conv2d(256, 128, 3, 1, 1),
        nn.BatchNorm2d(128), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(128, 64, 3, 1, 1), nn.BatchNorm2d(64),
        nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(64, 3, 3, 1, 1), nn.Tanh()).cuda()


def _adversaries(critic: nn.Module, precision: torch.dtype | None = None, penalty: bool = False) -> Step:
    generator = _generator()
    optimizers = [torch.optim.Adam(part.parameters(), 2e-4, (0.0, 0.9)) for part in (critic, generator)]

    def losses() -> None:
        real, made = images(32, 32).requires_grad_(penalty), generator(torch.randn(32, 128, device="cuda"))
        optimizers[0].zero_grad()
        with torch.autocast("cuda", dtype=precision or torch.bfloat16, enabled=precision is not None):
            scores = critic(real)
            loss = functional.relu(1 - scores).mean() + functional.relu(1 + critic(made.detach())).mean()
        if penalty:
            slope = torch.autograd.grad(scores.sum(), real, create_graph=True)[0]
            loss = loss + 5 * slope.square().sum((1, 2, 3)).mean()
        loss.backward()
        optimizers[0].step()
        optimizers[1].zero_grad()
        with torch.autocast("cuda", dtype=precision or torch.bfloat16, enabled=precision is not None):
            loss = -critic(made).mean()
        loss.backward()
        optimizers[1].step()
    return losses


def spectral_norms() -> Step:
    return _adversaries(_critic(nn.utils.parametrizations.spectral_norm))


def spectral_norms_bfloat16() -> Step:
    return _adversaries(_critic(nn.utils.parametrizations.spectral_norm), torch.bfloat16)


def old_spectral_norms() -> Step:
    return _adversaries(_critic(nn.utils.spectral_norm))


def slope_at_the_real_pictures() -> Step:
    return _adversaries(_critic(lambda layer: layer), penalty=True)


def fake_quantized() -> Step:
    """Observed ranges, quantisation of weights by channel and of activations by tensor."""
    class Quantized(nn.Linear):
        def __init__(self, inside: int, outside: int) -> None:
            super().__init__(inside, outside)
            self.register_buffer("least", torch.tensor(-1.0))
            self.register_buffer("most", torch.tensor(1.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.least.copy_(torch.min(self.least, x.detach().min()))
            self.most.copy_(torch.max(self.most, x.detach().max()))
            x = torch.fake_quantize_per_tensor_affine(
                x, (self.most - self.least) / 255, torch.zeros(1, dtype=torch.int32, device=x.device), 0, 255)
            scale = self.weight.detach().abs().amax(1) / 127
            weight = torch.fake_quantize_per_channel_affine(
                self.weight, scale, torch.zeros(len(scale), dtype=torch.int32, device=x.device), 0, -128, 127)
            return functional.linear(x, weight, self.bias)

    model = nn.Sequential(Quantized(768, 768), nn.ReLU(), Quantized(768, 768), nn.Hardtanh(), Quantized(768, 300))
    return training(model, _loss)


PROGRAMS = (
    adadelta, adagrad_in_a_loop, adagrad_from_the_start, adam_amsgrad_fused, adamw_amsgrad_maximized, adamw_in_a_loop,
    adamax_capturable, adamax_in_a_loop, nadam_in_a_loop, nadam_capturable, radam_capturable, radam_in_a_loop,
    averaged_sgd_capturable, resilient_propagation_in_a_loop, root_mean_square_capturable,
    sgd_dampened_maximized, adafactor_by_lists, orthogonal_updates, half_weights_with_masters,
    accumulated_then_averaged, spectral_norms, spectral_norms_bfloat16, old_spectral_norms, slope_at_the_real_pictures,
    fake_quantized,
)
