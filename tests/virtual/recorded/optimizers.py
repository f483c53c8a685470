"""One network under many optimizers and habits: fused, capturable, in backward, averaged, of second order."""

from __future__ import annotations

import copy
import functools

import torch
from torch import nn
from torch.nn import functional

from .training import Step, training


def _network() -> nn.Module:
    parts = [part for _ in range(3) for part in (nn.Linear(1024, 1024), nn.LayerNorm(1024), nn.GELU())]
    return nn.Sequential(*parts, nn.Linear(1024, 500))


def _loss(model: nn.Module) -> torch.Tensor:
    features, labels = torch.randn(512, 1024, device="cuda"), torch.randint(0, 500, (512,), device="cuda")
    return functional.cross_entropy(model(features), labels)


def _of(kind: type[torch.optim.Optimizer], **options: object) -> Step:
    return training(_network(), _loss, optimizer=functools.partial(kind, **options))


def adam_capturable() -> Step:
    return _of(torch.optim.Adam, lr=1e-3, capturable=True)


def adam_fused_with_scaler() -> Step:
    return training(
        _network(), _loss, precision=torch.float16, clip=1.0,
        optimizer=functools.partial(torch.optim.AdamW, fused=True))


def sgd_fused() -> Step:
    return _of(torch.optim.SGD, lr=0.1, momentum=0.9, fused=True)


def sgd_in_a_loop() -> Step:
    return _of(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-4, foreach=False)


def nadam_decoupled() -> Step:
    return _of(torch.optim.NAdam, decoupled_weight_decay=True, weight_decay=0.01)


def radam() -> Step:
    return _of(torch.optim.RAdam)


def adadelta_in_a_loop() -> Step:
    return _of(torch.optim.Adadelta, foreach=False)


def averaged_sgd() -> Step:
    return _of(torch.optim.ASGD)


def resilient_propagation() -> Step:
    return _of(torch.optim.Rprop)


def adamax_maximized() -> Step:
    return _of(torch.optim.Adamax, maximize=True, weight_decay=0.1)


def step_inside_backward() -> Step:
    """Each parameter is updated, and its gradient dropped, as soon as it is there."""
    model = _network().cuda()
    own = {parameter: torch.optim.AdamW([parameter]) for parameter in model.parameters()}

    def update(parameter: nn.Parameter) -> None:
        own[parameter].step()
        own[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(update)
    return lambda: _loss(model).backward()


def averaged_weights() -> Step:
    model = _network().cuda()
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    step = training(model, _loss, clip=0.5)

    def run() -> None:
        step()
        average.update_parameters(model)
    return run


def second_order() -> Step:
    model = _network().cuda()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4, history_size=5)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = _loss(model)
        loss.backward()
        return loss
    return lambda: optimizer.step(closure)


def sharpness_aware() -> Step:
    """Two backward passes a step, the second at weights moved along the gradient."""
    model = _network().cuda()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)

    def step() -> None:
        _loss(model).backward()
        with torch.no_grad():
            norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
            moves = [parameter.grad * (0.05 / (norm + 1e-12)) for parameter in model.parameters()]
            for parameter, move in zip(model.parameters(), moves):
                parameter.add_(move)
        optimizer.zero_grad()
        _loss(model).backward()
        with torch.no_grad():
            for parameter, move in zip(model.parameters(), moves):
                parameter.sub_(move)
        optimizer.step()
        optimizer.zero_grad()
    return step


def teacher_of_the_mean() -> Step:
    """A copy follows the weights, and gives targets without a graph."""
    model = _network().cuda()
    teacher = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), amsgrad=True)

    def step() -> None:
        x = torch.randn(512, 1024, device="cuda")
        with torch.no_grad():
            target = teacher(x).softmax(-1)
        functional.kl_div(model(x).log_softmax(-1), target, reduction="batchmean").backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            torch._foreach_lerp_(list(teacher.parameters()), list(model.parameters()), 0.01)
    return step


PROGRAMS = (
    adam_capturable, adam_fused_with_scaler, sgd_fused, sgd_in_a_loop, nadam_decoupled, radam, adadelta_in_a_loop,
    averaged_sgd, resilient_propagation, adamax_maximized, step_inside_backward, averaged_weights, second_order,
    sharpness_aware, teacher_of_the_mean,
)
