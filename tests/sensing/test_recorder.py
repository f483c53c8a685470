"""Where an iteration ends, seen from real optimizers and modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from memdoctor.sensing.recorder import BACKWARD_CALL, EXPLICIT_STEP, MODEL_CALL, OPTIMIZER_STEP, Recorder

Boundary = tuple[str, str]


def boundaries(program: Callable[[Recorder], None], steps: str = "auto") -> list[Boundary]:
    """What the recorder reports while the program runs."""
    seen: list[Boundary] = []
    failures: list[Exception] = []
    with Recorder(lambda *boundary: seen.append(boundary), on_failure=failures.append, steps=steps) as recorder:
        program(recorder)
    assert failures == []
    return seen


def train_step(model: nn.Module, *optimizers: torch.optim.Optimizer, micro_batches: int = 1) -> None:
    for _ in range(micro_batches):
        model(torch.ones(2, 3)).sum().backward()
    for optimizer in optimizers:
        optimizer.step()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def test_each_optimizer_step_is_an_iteration() -> None:
    def program(recorder: Recorder) -> None:
        model = nn.Linear(3, 1)
        optimizer = sgd(model)
        for _ in range(3):
            train_step(model, optimizer)

    assert boundaries(program) == [(OPTIMIZER_STEP, "train")] * 3


def test_accumulated_micro_batches_are_one_iteration() -> None:
    def program(recorder: Recorder) -> None:
        model = nn.Linear(3, 1)
        optimizer = sgd(model)
        for _ in range(2):
            train_step(model, optimizer, micro_batches=20)

    assert boundaries(program) == [(OPTIMIZER_STEP, "train")] * 2


def test_the_two_optimizers_of_a_gan_make_one_iteration_together() -> None:
    def program(recorder: Recorder) -> None:
        model = nn.Linear(3, 1)
        first, second = sgd(model), sgd(model)
        for _ in range(4):
            train_step(model, first, second)

    assert len(boundaries(program)) == 4


def test_an_optimizer_that_died_does_not_stop_the_counting() -> None:
    """One optimizer for each fold; each fold may lose one iteration and no more."""

    def program(recorder: Recorder) -> None:
        model = nn.Linear(3, 1)
        for _ in range(3):
            optimizer = sgd(model)
            for _ in range(5):
                train_step(model, optimizer)

    assert 15 - 3 <= len(boundaries(program)) <= 15


def test_a_long_evaluation_counts_model_calls_and_not_the_criterion() -> None:
    def program(recorder: Recorder) -> None:
        model, criterion = nn.Sequential(nn.Linear(3, 1), nn.ReLU()), nn.MSELoss()
        train_step(model, sgd(model))
        model.eval()
        for _ in range(20):
            criterion(model(torch.ones(2, 3)), torch.ones(2, 1))

    seen = boundaries(program)
    assert seen.count((MODEL_CALL, "eval")) == 20 - 13


def test_a_short_evaluation_is_not_looked_at() -> None:
    def program(recorder: Recorder) -> None:
        model = nn.Linear(3, 1)
        optimizer = sgd(model)
        for _ in range(3):
            train_step(model, optimizer)
            with torch.no_grad():
                for _ in range(10):
                    model(torch.ones(2, 3))

    assert (MODEL_CALL, "eval") not in boundaries(program)


def test_a_program_without_an_optimizer_counts_its_model_calls() -> None:
    def program(recorder: Recorder) -> None:
        model = nn.Linear(3, 1)
        for _ in range(4):
            model(torch.ones(2, 3)).sum().backward()

    assert boundaries(program) == [(MODEL_CALL, "train")] * 4


def by_hand(weight: torch.Tensor, passes: int) -> None:
    for _ in range(passes):
        (torch.ones(2, 3) @ weight).sum().backward()


def test_a_program_without_modules_counts_its_backward_passes() -> None:
    assert boundaries(lambda recorder: by_hand(torch.zeros(3, requires_grad=True), 4)) == [(BACKWARD_CALL, "train")] * 4


def test_backward_passes_are_no_iterations_where_there_is_an_optimizer_or_a_module() -> None:
    def with_optimizer(recorder: Recorder) -> None:
        weight = torch.zeros(3, requires_grad=True)
        optimizer = torch.optim.SGD([weight], lr=0.1)
        by_hand(weight, 3)
        optimizer.step()
        by_hand(weight, 3)

    def with_module(recorder: Recorder) -> None:
        model = nn.Linear(3, 1)
        optimizer = sgd(model)
        model(torch.ones(2, 3)).sum().backward()
        optimizer.step()

    assert boundaries(with_optimizer) == [(OPTIMIZER_STEP, "train")]
    assert boundaries(with_module) == [(OPTIMIZER_STEP, "train")]


def test_a_backward_within_a_backward_is_part_of_it() -> None:
    class Nested(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]  # one output
            with torch.enable_grad():
                torch.zeros(1, requires_grad=True).sum().backward()
            return gradient

    def program(recorder: Recorder) -> None:
        Nested.apply(torch.zeros(3, requires_grad=True)).sum().backward()

    assert boundaries(program) == [(BACKWARD_CALL, "train")]


def test_a_forward_that_raises_leaves_the_depth_right() -> None:
    def program(recorder: Recorder) -> None:
        model = nn.Sequential(nn.Linear(3, 1))
        for _ in range(3):
            with pytest.raises(RuntimeError):
                model(torch.ones(2, 7))
        model(torch.ones(2, 3))

    assert boundaries(program) == [(MODEL_CALL, "train")]


def test_a_model_with_parameters_of_its_own_making_breaks_nothing() -> None:
    class Odd(nn.Linear):
        def parameters(self, recurse: bool = True) -> list[nn.Parameter]:  # type: ignore[override]  # that is the point
            return [self.weight]

    assert boundaries(lambda recorder: Odd(3, 1)(torch.ones(2, 3))) == [(MODEL_CALL, "train")]


def test_what_breaks_in_a_hook_is_told_and_the_program_goes_on() -> None:
    class Broken(nn.Linear):
        def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
            raise ValueError("not now")

    failures: list[Exception] = []
    with Recorder(lambda *boundary: None, on_failure=failures.append):
        assert Broken(3, 1)(torch.ones(2, 3)).shape == (2, 1)
    assert [str(error) for error in failures] == ["not now"]


def test_only_models_are_told_before_they_are_called() -> None:
    """A criterion has no parameters, and is always in training mode."""
    told: list[nn.Module] = []
    model = nn.Sequential(nn.Linear(3, 1))
    with Recorder(lambda *boundary: None, on_failure=print, on_call=lambda module, args: told.append(module)):
        for _ in range(3):
            nn.MSELoss()(model(torch.ones(2, 3)), torch.zeros(2, 1))
    assert told == [model] * 3


def test_after_ctrl_c_in_a_forward_the_counting_goes_on() -> None:
    class Interrupted(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise KeyboardInterrupt

    def program(recorder: Recorder) -> None:
        with pytest.raises(KeyboardInterrupt):
            Interrupted(3, 1)(torch.ones(2, 3))
        model = nn.Linear(3, 1)
        optimizer = sgd(model)
        for _ in range(2):
            train_step(model, optimizer)
        with torch.no_grad():
            for _ in range(14):
                model(torch.ones(2, 3))

    assert boundaries(program) == [(OPTIMIZER_STEP, "train")] * 2 + [(MODEL_CALL, "eval")]


def test_the_users_own_step_wins_for_good() -> None:
    def program(recorder: Recorder) -> None:
        model = nn.Linear(3, 1)
        optimizer = sgd(model)
        recorder.step()
        for _ in range(3):
            train_step(model, optimizer)
        recorder.step()

    assert boundaries(program) == [(EXPLICIT_STEP, "train")] * 2


def test_nothing_is_left_behind() -> None:
    from torch.nn.modules import module
    from torch.optim import optimizer

    before = [dict(hooks) for hooks in _global_hooks(module, optimizer)]
    backward = torch.autograd.backward
    boundaries(lambda recorder: None)
    assert torch.autograd.backward is backward
    assert [dict(hooks) for hooks in _global_hooks(module, optimizer)] == before


def _global_hooks(module: object, optimizer: object) -> list[dict[int, object]]:
    names = ("_global_forward_pre_hooks", "_global_forward_hooks", "_global_forward_hooks_always_called")
    return [getattr(module, name) for name in names] + [getattr(optimizer, "_global_optimizer_post_hooks")]


def test_a_compiled_function_runs_and_its_steps_are_seen() -> None:
    """The hooks are global, and would be traced and compiled with the user's function."""
    model = torch.nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    compiled = torch.compile(lambda x: model(x).sum(), backend="eager", fullgraph=True)
    seen: list[str] = []
    with Recorder(lambda unit, phase: seen.append(unit), on_failure=lambda error: None):
        for _ in range(3):
            compiled(torch.ones(2, 4)).backward()
            optimizer.step()
    assert seen == ["optimizer step"] * 3
