"""States that move: integrated back, at rest, spiking, memories by address, trees, ordered neurons, fields."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .training import Step, images, tokens, training


class _Rates(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in range(2))
        self.layers = nn.ModuleList(nn.Conv2d(width + 1, width, 3, padding=1) for _ in range(2))

    def forward(self, time: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        for norm, layer in zip(self.norms, self.layers):
            x = norm(x).relu()
            x = layer(torch.cat((torch.ones_like(x[:, :1]) * time, x), 1))
        return x


class _Integrated(torch.autograd.Function):
    """Only the end is kept: state and slopes are integrated back together, by steps of fourth order."""

    @staticmethod
    def forward(ctx, rates: _Rates, x: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            times = torch.linspace(0, 1, 5, device=x.device)
            for start, end in zip(times[:-1], times[1:]):
                x = x + _Integrated.change(rates, start, end - start, x)
        ctx.rates, ctx.times = rates, times
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def change(rates: _Rates, time: torch.Tensor, step: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        one = rates(time, x)
        two = rates(time + step / 2, x + step * one / 2)
        three = rates(time + step / 2, x + step * two / 2)
        four = rates(time + step, x + step * three)
        return (one + 2 * (two + three) + four) * step / 6

    @staticmethod
    def backward(ctx, slope: torch.Tensor):
        (x,), weights = ctx.saved_tensors, tuple(ctx.rates.parameters())
        gathered = [torch.zeros_like(weight) for weight in weights]
        for end, start in zip(ctx.times.flip(0)[:-1], ctx.times.flip(0)[1:]):
            with torch.enable_grad():
                given = x.detach().requires_grad_()
                moved = _Integrated.change(ctx.rates, end, start - end, given)
                slopes = torch.autograd.grad(moved, (given, *weights), -slope)
            x, slope = x + moved.detach(), slope + slopes[0]
            torch._foreach_add_(gathered, slopes[1:])
        return None, slope, *gathered


def rates_integrated_back() -> Step:
    model = nn.ModuleList((nn.Conv2d(1, 64, 4, 2, 1), _Rates(), nn.Sequential(
        nn.GroupNorm(8, 64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))))

    def loss_of(model: nn.Module) -> torch.Tensor:
        x = _Integrated.apply(model[1], model[0](images(32, 28, 1)), *model[1].parameters())
        return functional.cross_entropy(model[2](x), torch.randint(0, 10, (32,), device="cuda"))
    return training(model, loss_of, optimizer=lambda given: torch.optim.SGD(given, 0.1, 0.9))


class _Balanced(nn.Module):
    """A layer applied until it changes nothing; backward looks for a fixed point of its own, in a hook."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.words, self.inner, self.given = nn.Embedding(2000, width), nn.Linear(width, width), nn.Linear(width, width)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 2000)

    def layer(self, z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.norm(torch.tanh(self.inner(z) + self.given(x)) + functional.gelu(z))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.words(ids)
        with torch.no_grad():
            z = torch.zeros_like(x)
            for _ in range(8):
                z, before = self.layer(z, x), z
                _ = (z - before).norm() / (z.norm() + 1e-5)
        z = self.layer(z, x)
        if z.requires_grad:
            start = z.detach().requires_grad_()
            again = self.layer(start, x.detach())

            def solved(grad: torch.Tensor) -> torch.Tensor:
                found = grad
                for _ in range(5):
                    found = torch.autograd.grad(again, start, found, retain_graph=True)[0] + grad
                return found
            z.register_hook(solved)
        return self.head(z)


def points_that_stay_bfloat16() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        ids = tokens(8, 129, 2000)
        return functional.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:])
    return training(_Balanced(), loss_of, precision=torch.bfloat16, clip=1.0)


class _Spike(torch.autograd.Function):
    """A step forward, a smooth bump backward."""

    @staticmethod
    def forward(ctx, potential: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(potential)
        return (potential > 0).to(potential.dtype)

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> torch.Tensor:
        (potential,) = ctx.saved_tensors
        return grad / (10 * potential.abs() + 1) ** 2


class _Spiking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList((
            nn.Conv2d(2, 32, 5, padding=2), nn.Conv2d(32, 64, 3, 2, 1), nn.Linear(64 * 17 * 17, 11)))
        self.decay = nn.Parameter(torch.full((3,), 2.0))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        potentials: list = [None, None, None]
        counts = 0
        for x in frames.unbind(1):
            for number, layer in enumerate(self.layers):
                x = layer(x.flatten(1) if number == 2 else x)
                before = potentials[number]
                now = x if before is None else before * self.decay[number].sigmoid() + x
                x = _Spike.apply(now - 1.0)
                potentials[number] = now - x.detach()
                if number == 0:
                    x = functional.avg_pool2d(x, 2, ceil_mode=True)
            counts = counts + x
        return counts / frames.shape[1]


def spikes_in_time() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        frames = torch.bernoulli(torch.full((8, 10, 2, 67, 67), 0.1, device="cuda"))
        wanted = functional.one_hot(torch.randint(0, 11, (8,), device="cuda"), 11).float()
        return functional.mse_loss(model(frames), wanted)
    return training(_Spiking(), loss_of, optimizer=lambda given: torch.optim.Adam(given, 1e-3, fused=True))


class _Addressed(nn.Module):
    """A cell that reads and writes rows of a memory, chosen by likeness, kept, shifted and sharpened."""

    def __init__(self, rows: int = 128, width: int = 20, hidden: int = 100) -> None:
        super().__init__()
        self.cell, self.rows, self.width = nn.LSTMCell(8 + 1 + width, hidden), rows, width
        self.read, self.write = nn.Linear(hidden, width + 6), nn.Linear(hidden, 3 * width + 6)
        self.out = nn.Linear(hidden + width, 8)
        self.register_buffer("start", torch.empty(rows, width).uniform_(-0.2, 0.2))

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        batch = given.shape[1]
        memory = self.start.repeat(batch, 1, 1)
        seen = given.new_zeros(batch, self.width)
        at, put = (functional.one_hot(given.new_zeros(batch).long(), self.rows).float() for _ in range(2))
        state, outs = None, []
        for x in given:
            state = self.cell(torch.cat((x, seen), 1), state)
            asked, told = self.read(state[0]), self.write(state[0])
            put = self._address(memory, told[:, :self.width + 6], put)
            erase, add = told[:, self.width + 6:].split(self.width, 1)
            memory = memory * (1 - torch.matmul(put.unsqueeze(-1), erase.sigmoid().unsqueeze(1)))
            memory = memory + torch.matmul(put.unsqueeze(-1), add.unsqueeze(1))
            at = self._address(memory, asked, at)
            seen = torch.matmul(at.unsqueeze(1), memory).squeeze(1)
            outs.append(self.out(torch.cat((state[0], seen), 1)).sigmoid())
        return torch.stack(outs)

    def _address(self, memory: torch.Tensor, asked: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        key, strength, gate, shift, sharp = asked.split((self.width, 1, 1, 3, 1), 1)
        like = functional.cosine_similarity(memory + 1e-16, key.unsqueeze(1) + 1e-16, dim=-1)
        chosen = functional.softmax(functional.softplus(strength) * like, 1)
        mixed = gate.sigmoid() * chosen + (1 - gate.sigmoid()) * before
        shift = shift.softmax(1)
        turned = sum(shift[:, n: n + 1] * mixed.roll(n - 1, 1) for n in range(3))
        sharpened = turned ** (1 + functional.softplus(sharp))
        return sharpened / (sharpened.sum(1, keepdim=True) + 1e-16)


def rows_of_a_memory() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        wanted = torch.bernoulli(torch.full((12, 16, 8), 0.5)).cuda()
        given = torch.zeros(25, 16, 9, device="cuda")
        given[:12, :, :8] = wanted
        given[12, :, 8] = 1.0
        return functional.binary_cross_entropy(model(given)[13:], wanted)
    return training(
        _Addressed(), loss_of, optimizer=lambda given: torch.optim.RMSprop(given, 1e-4, momentum=0.9, centered=True))


class _Tree(nn.Module):
    """Sentences as trees, from the leaves up; each level is one batch, children are added to their parents."""

    def __init__(self, width: int = 150) -> None:
        super().__init__()
        self.words = nn.Embedding(10000, 300, padding_idx=0)
        self.gates, self.gates_of_children = nn.Linear(300, 3 * width), nn.Linear(width, 3 * width, bias=False)
        self.forget, self.forget_children = nn.Linear(300, width), nn.Linear(width, width, bias=False)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(width, 5))

    def forward(self, ids: torch.Tensor, parents: list[torch.Tensor], counts: list[int]) -> torch.Tensor:
        levels, outs = self.words(ids).split(counts), []
        hidden = cell = None
        for number, x in enumerate(levels):
            gates = self.gates(x)
            kept = 0
            if number:
                to = parents[number - 1]
                whole = torch.zeros(len(x), hidden.shape[1], device=x.device).index_add_(0, to, hidden)
                gates = gates + self.gates_of_children(whole)
                forget = torch.sigmoid(self.forget(x)[to] + self.forget_children(hidden))
                kept = torch.zeros_like(whole).index_add_(0, to, forget * cell)
            into, out, new = gates.chunk(3, 1)
            cell = into.sigmoid() * new.tanh() + kept
            hidden = out.sigmoid() * cell.tanh()
            outs.append(hidden)
        return self.head(torch.cat(outs))


def trees_of_words() -> Step:
    counts = [1024, 512, 256, 128, 64, 32]

    def loss_of(model: nn.Module) -> torch.Tensor:
        parents = [torch.arange(count).repeat_interleave(2).cuda() for count in counts[1:]]
        out = model(torch.randint(1, 10000, (sum(counts),)).cuda(), parents, counts)
        return functional.cross_entropy(out, torch.randint(0, 5, (len(out),)).cuda(), reduction="sum") / 32
    return training(
        _Tree(), loss_of, optimizer=lambda given: torch.optim.Adagrad(given, 0.05, weight_decay=1e-4, foreach=True))


class _Ordered(nn.Module):
    """Neurons with ranks: gates that rise along the units; weights of the recurrence are dropped."""

    def __init__(self, width: int = 200, chunk: int = 10) -> None:
        super().__init__()
        self.words, self.chunk, self.ranks = nn.Embedding(3000, width), chunk, width // chunk
        self.into = nn.Linear(width, 4 * width + 2 * self.ranks)
        self.over = nn.Linear(width, 4 * width + 2 * self.ranks)
        self.head = nn.Linear(width, 3000)
        self.head.weight = self.words.weight

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        table = self.words.weight
        mask = table.new_empty(len(table), 1).bernoulli_(0.9).expand_as(table) / 0.9
        x = self.into(functional.embedding(ids, mask * table))
        weight = functional.dropout(self.over.weight, 0.45)
        hidden = cell = torch.zeros(ids.shape[1], self.ranks * self.chunk, device=ids.device)
        outs = []
        for part in x:
            gates = part + functional.linear(hidden, weight, self.over.bias)
            into, forget = gates[:, :self.ranks], gates[:, self.ranks: 2 * self.ranks]
            into = 1 - into.softmax(-1).cumsum(-1)
            forget = forget.softmax(-1).cumsum(-1)
            into, forget = (gate.repeat_interleave(self.chunk, 1) for gate in (into, forget))
            out, new, own, kept = gates[:, 2 * self.ranks:].chunk(4, 1)
            both = forget * into
            kept, own = kept.sigmoid() * both + (forget - both), own.sigmoid() * both + (into - both)
            cell = kept * cell + own * new.tanh()
            hidden = out.sigmoid() * cell.tanh()
            outs.append(hidden)
        seen = torch.stack(outs)
        return self.head(functional.dropout(seen, 0.4)), seen


def neurons_with_ranks() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        ids = tokens(36, 20, 3000)
        out, seen = model(ids[:-1])
        loss = functional.cross_entropy(out.view(-1, 3000), ids[1:].view(-1))
        return loss + 2 * seen.pow(2).mean() + (seen[1:] - seen[:-1]).pow(2).mean()
    return training(
        _Ordered(), loss_of, clip=0.25, optimizer=lambda given: torch.optim.SGD(given, 30.0, weight_decay=1.2e-6))


class _Field(nn.Module):
    """A random field whose covariance is learnt: products with its matrix are all that is needed of its inverse."""

    def __init__(self, columns: int = 6) -> None:
        super().__init__()
        self.lengths, self.size = nn.Parameter(torch.zeros(columns)), nn.Parameter(torch.zeros(()))
        self.noise, self.deep = nn.Parameter(torch.tensor(-2.0)), nn.Sequential(
            nn.Linear(12, 64), nn.SELU(), nn.AlphaDropout(0.1), nn.Linear(64, columns))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.deep(x) / functional.softplus(self.lengths)
        far = (x.square().sum(-1, keepdim=True) + x.square().sum(-1) - 2 * x @ x.mT).clamp_min(1e-12).sqrt()
        near = 1 + 5 ** 0.5 * far + 5 / 3 * far.square()
        covariance = self.size.exp() * near * torch.exp(-(5 ** 0.5) * far)
        return covariance + functional.softplus(self.noise) * torch.eye(len(x), device=x.device)


def _solved(matrix: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """By conjugate gradients, all columns at once."""
    found, rest = torch.zeros_like(wanted), wanted.clone()
    scale = matrix.diagonal().unsqueeze(-1)
    way = rest / scale
    size = (rest * way).sum(0)
    for _ in range(12):
        moved = matrix @ way
        step = size / (way * moved).sum(0).clamp(min=1e-20)
        found.addcmul_(step, way)
        rest.sub_(step * moved)
        better = rest / scale
        size, before = (rest * better).sum(0), size
        way = torch.addcmul(better, size / before, way)
    return found


def field_by_conjugate_gradients() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        matrix = model(torch.randn(1000, 12, device="cuda"))
        probes = torch.randint(0, 2, (1000, 10), device="cuda").float() * 2 - 1
        wanted = torch.cat((torch.randn(1000, 1, device="cuda"), probes), 1)
        with torch.no_grad():
            found = _solved(matrix, wanted)
        fits = -0.5 * torch.einsum("ni,nm,mi->", found[:, :1], matrix, found[:, :1])
        return (fits + 0.5 * (found[:, 1:] * (matrix @ probes)).sum() / 10) / 1000
    return training(_Field(), loss_of, optimizer=lambda given: torch.optim.RAdam(given, 0.01))


class _Kept(nn.Module):
    """Attention whose past fades: within chunks by a product with a mask of decays, between them by a state."""

    def __init__(self, width: int = 256, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.parts = heads, nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(5))
        self.norm, self.inner = nn.LayerNorm(width), nn.GroupNorm(heads, width, affine=False)
        self.register_buffer("decay", torch.log(1 - 2 ** (-5 - torch.arange(heads).float())))

    def forward(self, x: torch.Tensor, chunk: int = 64) -> torch.Tensor:
        batch, length, width = x.shape
        normed = self.norm(x)
        query, key, value = (part(normed).view(batch, -1, chunk, self.heads, width // self.heads).transpose(2, 3)
                             for part in self.parts[:3])
        place = torch.arange(chunk, device=x.device)
        far = (place[:, None] - place).float().masked_fill(place[:, None] < place, torch.inf)
        mask = torch.nan_to_num(torch.exp(far * self.decay[:, None, None]))
        inside = (query @ key.transpose(-1, -2) * mask) @ value
        fade = torch.exp((place + 1) * self.decay[:, None])[..., None]
        state, across = None, []
        for number in range(query.shape[1]):
            across.append(query[:, number] * fade @ state if number else torch.zeros_like(inside[:, 0]))
            new = (key[:, number] * fade.flip(1)).transpose(-1, -2) @ value[:, number]
            state = state * fade[:, -1:] + new if number else new
        out = (inside + torch.stack(across, 1)).transpose(2, 3).reshape(batch * length, width)
        out = self.inner(out).view(batch, length, width)
        return x + self.parts[4](functional.silu(self.parts[3](normed)) * out)


def past_that_fades_bfloat16_ampere() -> Step:
    words = nn.Embedding(4000, 256)
    model = nn.ModuleList((words, nn.ModuleList(_Kept() for _ in range(4)), nn.Linear(256, 4000, bias=False)))

    def loss_of(model: nn.Module) -> torch.Tensor:
        ids = tokens(4, 257, 4000)
        x = model[0](ids[:, :-1])
        for block in model[1]:
            x = checkpoint(block, x, use_reentrant=False)
        return functional.cross_entropy(model[2](x).flatten(0, 1), ids[:, 1:].flatten())
    return training(model, loss_of, precision=torch.bfloat16, clip=1.0, accumulation=2)


PROGRAMS = (
    rates_integrated_back, points_that_stay_bfloat16, spikes_in_time, rows_of_a_memory, trees_of_words,
    neurons_with_ranks, field_by_conjugate_gradients, past_that_fades_bfloat16_ampere,
)
