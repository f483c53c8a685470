"""Policies, graphs, tables and fields: sampling, permutations, buffers on the card, functions of functions."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from .training import Step, tokens, training


def _network(*widths: int, act: type[nn.Module] = nn.Tanh) -> nn.Module:
    parts: list[nn.Module] = []
    for pair in zip(widths, widths[1:]):
        parts += [nn.Linear(*pair), act()]
    return nn.Sequential(*parts[:-1])


def policy_in_minibatches() -> Step:
    """Rollout, advantages backwards in time, then epochs over permuted minibatches with clipped ratios."""
    actor, critic = _network(32, 256, 256, 8).cuda(), _network(32, 256, 256, 1).cuda()
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], 3e-4, eps=1e-5)
    steps, worlds = 32, 128

    def rollout() -> list[torch.Tensor]:
        seen = torch.zeros(steps, worlds, 32, device="cuda")
        taken, likely, rewards, values = (torch.zeros(steps, worlds, device="cuda") for _ in range(4))
        with torch.no_grad():
            for time in range(steps):
                seen[time] = torch.randn(worlds, 32, device="cuda")
                chances = torch.distributions.Categorical(logits=actor(seen[time]), validate_args=False)
                action = chances.sample()
                taken[time], likely[time], rewards[time] = action, chances.log_prob(action), torch.rand(worlds).cuda()
                values[time] = critic(seen[time]).flatten()
            gain, last = torch.zeros_like(rewards), torch.zeros(worlds, device="cuda")
            for time in reversed(range(steps)):
                after = values[time + 1] if time + 1 < steps else torch.zeros_like(last)
                gain[time] = last = rewards[time] + 0.99 * after - values[time] + 0.95 * 0.99 * last
        return [part.flatten(0, 1) for part in (seen, taken, likely, gain, gain + values)]

    def step() -> None:
        seen, taken, likely, gain, returns = rollout()
        for _ in range(2):
            order = torch.randperm(len(seen), device="cuda")
            for start in range(0, len(seen), 1024):
                part = order[start: start + 1024]
                chances = torch.distributions.Categorical(logits=actor(seen[part]), validate_args=False)
                ratio = (chances.log_prob(taken[part]) - likely[part]).exp()
                own = (gain[part] - gain[part].mean()) / (gain[part].std() + 1e-8)
                policy = torch.max(-own * ratio, -own * ratio.clamp(0.8, 1.2)).mean()
                value = 0.5 * (critic(seen[part]).flatten() - returns[part]).pow(2).mean()
                optimizer.zero_grad()
                (policy + 0.5 * value - 0.01 * chances.entropy().mean()).backward()
                nn.utils.clip_grad_norm_([*actor.parameters(), *critic.parameters()], 0.5)
                optimizer.step()
    return step


def values_of_actions() -> Step:
    """A buffer of transitions on the card, double Q-learning from pictures, a target that follows."""
    def network() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 6)).cuda()

    model, target = network(), network()
    target.load_state_dict(model.state_dict())
    optimizer = torch.optim.RMSprop(model.parameters(), 2.5e-4, alpha=0.95, eps=0.01, centered=True)
    buffer = torch.zeros(500, 2, 4, 84, 84, dtype=torch.uint8, device="cuda")
    actions, rewards = torch.zeros(500, dtype=torch.long, device="cuda"), torch.zeros(500, device="cuda")

    def step() -> None:
        rows = torch.randint(0, 500, (64,), device="cuda")
        before, after = (buffer[rows, number].float() / 255 for number in (0, 1))
        with torch.no_grad():
            best = model(after).argmax(1, keepdim=True)
            wanted = rewards[rows] + 0.99 * target(after).gather(1, best)[:, 0]
        loss = functional.smooth_l1_loss(model(before).gather(1, actions[rows][:, None])[:, 0], wanted)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for own, other in zip(target.parameters(), model.parameters()):
                own.mul_(0.995).add_(other, alpha=0.005)
    return step


def ensemble_in_one_call() -> Step:
    models = [_network(64, 256, 256, 1, act=nn.SiLU).cuda() for _ in range(5)]
    params, buffers = torch.func.stack_module_state(models)
    skeleton = copy.deepcopy(models[0]).to("meta")
    optimizer = torch.optim.AdamW(params.values(), 1e-3)

    def predicted(params, buffers, x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(skeleton, (params, buffers), (x,))

    def step() -> None:
        x, y = torch.randn(5, 512, 64, device="cuda"), torch.randn(5, 512, 1, device="cuda")
        out = torch.func.vmap(predicted)(params, buffers, x)
        optimizer.zero_grad()
        functional.mse_loss(out, y).backward()
        optimizer.step()
    return step


def jacobians_and_curvature() -> Step:
    model = _network(24, 128, 128, 24, act=nn.Softplus).cuda()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    def out(x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, weights, x)

    def step() -> None:
        x = torch.randn(64, 24, device="cuda")
        backward = torch.func.vmap(torch.func.jacrev(out))(x)
        forward = torch.func.vmap(torch.func.jacfwd(out))(x)
        curved = torch.func.vmap(torch.func.hessian(lambda point: out(point).pow(2).sum()))(x)
        _, along = torch.func.jvp(out, (x,), (torch.ones_like(x),))
        _, back = torch.func.vjp(out, x)
        (backward + forward + curved).sum() + along.sum() + back(along)[0].sum()
    return step


class _Samples(nn.Module):
    """Mean of the neighbours by `scatter_reduce`, maxima by `index_reduce`, and normalised rows."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.own, self.mean, self.most = (nn.Linear(inside, outside, bias=number == 0) for number in range(3))

    def forward(self, x: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        messages = x.index_select(0, source)
        mean = torch.zeros_like(x).scatter_reduce(
            0, target[:, None].expand_as(messages), messages, "mean", include_self=False)
        most = torch.zeros_like(x).index_reduce(0, target, messages.detach(), "amax")
        return functional.normalize(self.own(x) + self.mean(mean) + self.most(most), dim=-1)


class _Sampled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList((_Samples(96, 160), _Samples(160, 160), _Samples(160, 30)))

    def forward(self, x: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = functional.leaky_relu(layer(x, source, target))
        return x


def sampled_neighbours() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        edges = (torch.randint(0, 5000, (40000,), device="cuda") for _ in range(2))
        out, chosen = model(torch.randn(5000, 96, device="cuda"), *edges), torch.arange(1000, device="cuda")
        return functional.cross_entropy(out[chosen], torch.randint(0, 30, (1000,), device="cuda"))
    return training(_Sampled(), loss_of)


class _Normalized(nn.Module):
    """Both ends' degrees weigh each edge, and the whole graph is read out by `scatter_add` and a GRU cell."""

    def __init__(self) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(*size) for size in ((64, 128), (128, 128)))
        self.cell, self.head = nn.GRUCell(128, 128), nn.Linear(128, 1)

    def forward(
        self, x: torch.Tensor, source: torch.Tensor, target: torch.Tensor, graph: torch.Tensor
    ) -> torch.Tensor:
        degree = torch.bincount(target, minlength=len(x)).float().clamp_(min=1).rsqrt_()
        weight = (degree[source] * degree[target])[:, None]
        for linear in self.linears:
            x = linear(x)
            x = x.new_zeros(x.shape).index_add_(0, target, x[source] * weight.to(x.dtype)).relu()
        whole = x.new_zeros(64, 128).scatter_add_(0, graph[:, None].expand_as(x), x)
        state = torch.zeros_like(whole)
        for _ in range(3):
            state = self.cell(whole, state)
        return self.head(state)[:, 0]


def graphs_read_out_float16() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        edges = (torch.randint(0, 2048, (10000,), device="cuda") for _ in range(2))
        graph = torch.arange(64, device="cuda").repeat_interleave(32)
        return functional.l1_loss(model(torch.randn(2048, 64, device="cuda"), *edges, graph), torch.randn(64).cuda())
    return training(_Normalized(), loss_of, precision=torch.float16)


class _Rotations(nn.Module):
    """Facts as rotations of complex numbers, against wrong facts weighed by their own score."""

    def __init__(self) -> None:
        super().__init__()
        self.things, self.relations = nn.Embedding(20000, 200), nn.Embedding(400, 100)

    def forward(self, head: torch.Tensor, relation: torch.Tensor, tail: torch.Tensor) -> torch.Tensor:
        one, other = (torch.view_as_complex(self.things(ids).unflatten(-1, (100, 2))) for ids in (head, tail))
        angle = self.relations(relation)
        turned = one * torch.polar(torch.ones_like(angle), angle)
        return 12.0 - (turned - other).abs().sum(-1)


def facts_as_rotations() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        head, tail = (torch.randint(0, 20000, (512, 1), device="cuda") for _ in range(2))
        relation, wrong = torch.randint(0, 400, (512, 1)).cuda(), torch.randint(0, 20000, (512, 64)).cuda()
        missed = model(head, relation, wrong)
        weights = missed.detach().softmax(-1)
        found = functional.logsigmoid(model(head, relation, tail)).mean()
        return -(found + (weights * functional.logsigmoid(-missed)).sum(-1).mean()) / 2
    return training(_Rotations(), loss_of, optimizer=lambda given: torch.optim.Adagrad(given, 0.1, foreach=True))


class _Bags(nn.Module):
    """Bags with weights and with padding, means, frequencies, and crosses of columns."""

    def __init__(self) -> None:
        super().__init__()
        self.weighted = nn.EmbeddingBag(8000, 64, mode="sum", include_last_offset=True)
        self.mean = nn.EmbeddingBag(8000, 64, mode="mean", padding_idx=0)
        self.single = nn.Embedding(3000, 64, scale_grad_by_freq=True, padding_idx=0)
        self.crosses = nn.ModuleList(nn.Linear(192, 192) for _ in range(2))
        self.deep = nn.Sequential(
            nn.Linear(192, 256), nn.BatchNorm1d(256), nn.PReLU(), nn.Dropout(0.2), nn.Linear(256, 64))
        self.head = nn.Linear(256, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        offsets = torch.arange(0, ids.numel() + 1, ids.shape[1], device=ids.device)
        weights = torch.rand(ids.numel(), device=ids.device)
        parts = self.weighted(ids.flatten(), offsets, weights), self.mean(ids), self.single(ids[:, 0] % 3000)
        first = x = torch.cat(parts, 1)
        for cross in self.crosses:
            x = first * cross(x) + x
        return self.head(torch.cat((x, self.deep(first)), 1))[:, 0]


def bags_and_crosses() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(
            model(tokens(1024, 6, 8000)), torch.rand(1024).cuda(), pos_weight=torch.tensor(3.0).cuda())
    return training(_Bags(), loss_of)


def bags_and_crosses_bfloat16() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(model(tokens(1024, 6, 8000)), torch.rand(1024).cuda())
    return training(_Bags(), loss_of, precision=torch.bfloat16)


class _Field(nn.Module):
    """Density and colour along rays: sines of places, cumulative products, and a second, finer sample of each ray."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = _network(39, 256, 256, 256, act=nn.ReLU), nn.Linear(256, 4)

    def forward(self, origin: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
        depth = torch.linspace(2, 6, 33, device="cuda").expand(len(origin), 33)
        middle = (depth[:, 1:] + depth[:, :-1]) / 2 + (torch.rand(len(origin), 32, device="cuda") - 0.5) * 0.1
        weights, coarse = self._rendered(origin, direction, middle)
        spread = torch.cumsum(weights.detach() / (weights.detach().sum(-1, keepdim=True) + 1e-5), -1).contiguous()
        chosen = torch.searchsorted(spread, torch.rand(len(origin), 32, device="cuda"), right=True).clamp(max=31)
        finer = torch.sort(torch.cat((middle, middle.gather(1, chosen)), -1), -1).values
        return coarse, self._rendered(origin, direction, finer)[1]

    def _rendered(self, origin: torch.Tensor, direction: torch.Tensor, depth: torch.Tensor):
        points = origin[:, None] + direction[:, None] * depth[..., None]
        waves = points[..., None] * 2.0 ** torch.arange(6, device="cuda")
        out = self.outer(self.inner(torch.cat((points, waves.sin().flatten(-2), waves.cos().flatten(-2)), -1)))
        far = torch.cat((depth.diff(dim=-1), torch.full_like(depth[:, :1], 1e10)), -1)
        opaque = 1 - torch.exp(-functional.softplus(out[..., 3]) * far)
        free = torch.cumprod(torch.cat((torch.ones_like(opaque[:, :1]), 1 - opaque + 1e-10), -1), -1)[:, :-1]
        weights = opaque * free
        return weights, (weights[..., None] * out[..., :3].sigmoid()).sum(-2)


def fields_of_light() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        coarse, fine = model(torch.randn(512, 3, device="cuda"), torch.randn(512, 3, device="cuda"))
        truth = torch.rand(512, 3, device="cuda")
        return functional.mse_loss(coarse, truth) + functional.mse_loss(fine, truth)
    return training(_Field(), loss_of)


PROGRAMS = (
    policy_in_minibatches, values_of_actions, ensemble_in_one_call, jacobians_and_curvature, sampled_neighbours,
    graphs_read_out_float16, facts_as_rotations, bags_and_crosses, bags_and_crosses_bfloat16, fields_of_light,
)
