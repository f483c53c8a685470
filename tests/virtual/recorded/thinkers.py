"""Further kinds: latents and slots, hashes and chunks, dropped tokens, equations, tasks, agents, few examples."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .training import Step, images, tokens, training

WORDS = 8000


class _Cross(nn.Module):
    def __init__(self, width: int, other: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList((nn.LayerNorm(width), nn.LayerNorm(other), nn.LayerNorm(width)))
        self.attend = nn.MultiheadAttention(width, heads, kdim=other, vdim=other, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(width, 8 * width), nn.GLU(), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        memory = self.norms[1](other)
        x = x + self.attend(self.norms[0](x), memory, memory, need_weights=False)[0]
        return x + self.feed(self.norms[2](x))


class _Latents(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.latents, self.into = nn.Parameter(torch.randn(64, 256) * 0.02), _Cross(256, 64, 1)
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(256, 8, 1024, 0.1, batch_first=True) for _ in range(3))
        self.query, self.out, self.head = nn.Parameter(torch.randn(1, 256)), _Cross(256, 256, 4), nn.Linear(256, 50)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.into(self.latents.expand(len(x), -1, -1), x)
        for _ in range(2):
            for block in self.blocks:
                state = block(state)
        return self.head(self.out(self.query.expand(len(x), -1, -1), state)[:, 0])


def _of_points(model: nn.Module) -> torch.Tensor:
    out = model(torch.randn(8, 1500, 64, device="cuda"))
    return functional.cross_entropy(out, torch.randint(0, 50, (8,), device="cuda"))


def latents_turing() -> Step:
    return training(_Latents(), _of_points)


def latents_bfloat16() -> Step:
    return training(_Latents(), _of_points, precision=torch.bfloat16)


class _Slots(nn.Module):
    """Slots compete for the inputs; a GRU cell moves them."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, width, 5, 2, 2))
        self.key, self.value, self.query = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.cell, self.norms = nn.GRUCell(width, width), nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.feed = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, width))
        self.mean, self.spread = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.zeros(1, 1, width))
        self.out = nn.Sequential(nn.ConvTranspose2d(width, 32, 5, 2, 2, 1), nn.ReLU(), nn.Conv2d(32, 4, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = self.norms[0](self.stem(x).flatten(2).transpose(1, 2))
        key, value = self.key(flat), self.value(flat)
        slots = self.mean + self.spread.exp() * torch.randn(len(x), 5, 64, device=x.device)
        for _ in range(3):
            shares = torch.softmax(key @ self.query(self.norms[1](slots)).transpose(1, 2) * 0.125, -1) + 1e-8
            update = (shares / shares.sum(1, keepdim=True)).transpose(1, 2) @ value
            slots = self.cell(update.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
            slots = slots + self.feed(self.norms[2](slots))
        painted = self.out(slots.flatten(0, 1)[..., None, None].expand(-1, -1, 24, 24)).unflatten(0, (len(x), 5))
        colours, masks = painted.split((3, 1), 2)
        return (colours * masks.softmax(1)).sum(1)


def slots_of_scenes() -> Step:
    return training(_Slots(), lambda model: functional.mse_loss(model(images(8, 48)), images(8, 48)))


class _Chunks(nn.Module):
    """Queries see their own chunk and its neighbours, unfolded, and a few tokens that see everything."""

    def __init__(self, width: int, heads: int, size: int = 64) -> None:
        super().__init__()
        self.heads, self.size, self.norm = heads, size, nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.inner(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        own = query.unflatten(2, (-1, self.size))
        near = [
            functional.pad(part, (0, 0, self.size, self.size)).unfold(2, 3 * self.size, self.size).transpose(-1, -2)
            for part in (key, value)]
        scores = own @ near[0].transpose(-1, -2) * query.shape[-1] ** -0.5
        place = torch.arange(3 * self.size, device=x.device)
        far = (place[None] - place[:self.size, None] - self.size).abs() > self.size
        scores = scores.masked_fill(far, torch.finfo(scores.dtype).min)
        whole = query @ key[:, :, :4].transpose(-1, -2) * query.shape[-1] ** -0.5
        shares = torch.cat((scores.flatten(2, 3), whole), -1).float().softmax(-1).type_as(scores)
        mixed = (shares[..., :-4].unflatten(2, (-1, self.size)) @ near[1]).flatten(2, 3)
        mixed = mixed + shares[..., -4:] @ value[:, :, :4]
        return x + self.outer(mixed.transpose(1, 2).flatten(2))


class _Hashes(nn.Module):
    """Tokens of equal hash attend to each other: sorted, cut into chunks, put back."""

    def __init__(self, width: int, heads: int, size: int = 32) -> None:
        super().__init__()
        self.heads, self.size, self.norm = heads, size, nn.LayerNorm(width)
        self.both, self.value, self.outer = (nn.Linear(width, width, bias=False) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.norm(x)
        both, value = (part(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.both, self.value))
        turned = both.detach() @ torch.randn(both.shape[-1], 4, device=x.device, dtype=both.dtype)
        bucket = torch.cat((turned, -turned), -1).argmax(-1)
        place = torch.arange(x.shape[1], device=x.device)
        order = (bucket * x.shape[1] + place).argsort(-1)
        index = order[..., None].expand_as(both)
        query, values = (part.gather(2, index).unflatten(2, (-1, self.size)) for part in (both, value))
        key = functional.normalize(query, dim=-1)
        key, values = (torch.cat((part, part.roll(1, 2)), 3) for part in (key, values))
        scores = query @ key.transpose(-1, -2)
        out = (scores - scores.logsumexp(-1, keepdim=True)).exp() @ values
        back = order.argsort(-1)[..., None].expand_as(both)
        return x + self.outer(out.flatten(2, 3).gather(2, back).transpose(1, 2).flatten(2))


class _Words(nn.Module):
    def __init__(self, *blocks: nn.Module, width: int = 256) -> None:
        super().__init__()
        self.words, self.blocks, self.head = nn.Embedding(WORDS, width), nn.ModuleList(blocks), nn.Linear(width, WORDS)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        x = self.words(words)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def _same_words(model: nn.Module) -> torch.Tensor:
    words = tokens(2, 512, WORDS)
    return functional.cross_entropy(model(words).flatten(0, 1), words.flatten(), ignore_index=0)


def chunks_that_overlap() -> Step:
    return training(_Words(*(_Chunks(256, 4) for _ in range(3))), _same_words)


def chunks_that_overlap_float16() -> Step:
    return training(_Words(*(_Chunks(256, 4) for _ in range(3))), _same_words, precision=torch.float16)


def buckets_of_hashes() -> Step:
    return training(_Words(*(_Hashes(256, 4) for _ in range(3))), _same_words)


class _Pruned(nn.Module):
    """After each layer only the tokens with the largest scores go on."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.stem, self.scores = nn.Conv2d(3, width, 8, 8), nn.ModuleList(nn.Linear(width, 1) for _ in range(3))
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(width, 4, 512, batch_first=True) for _ in range(3))
        self.head = nn.Linear(width, 100)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2)
        for layer, score in zip(self.layers, self.scores):
            x = layer(x)
            weight = score(x).squeeze(-1).sigmoid()
            best = weight.topk(int(0.7 * x.shape[1]), sorted=False)
            x = x[torch.arange(len(x), device=x.device)[:, None], best.indices] * best.values[..., None]
        return self.head(x.mean(1))


def tokens_dropped_float16_ampere() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        return functional.cross_entropy(model(images(8, 128)), torch.randint(0, 100, (8,)).cuda())
    return training(_Pruned(), loss_of, precision=torch.float16)


def equation_in_time() -> Step:
    """Four evaluations a step of time, twenty steps, each checkpointed the old way."""
    field = nn.Sequential(nn.Linear(65, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 64))

    def moved(model: nn.Module, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        def slope(state: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
            return model(torch.cat((state, at.expand(len(state), 1)), 1))
        first = slope(x, time)
        second = slope(x + 0.025 * first, time + 0.025)
        third = slope(x + 0.025 * second, time + 0.025)
        return x + 0.05 / 6 * (first + 2 * second + 2 * third + slope(x + 0.05 * third, time + 0.05))

    def loss_of(model: nn.Module) -> torch.Tensor:
        x = torch.randn(1024, 64, device="cuda", requires_grad=True)
        for number in range(20):
            x = checkpoint(moved, model, x, torch.tensor(number * 0.05, device="cuda"), use_reentrant=True)
        return functional.mse_loss(x, torch.randn(1024, 64, device="cuda"))
    return training(field, loss_of)


def tasks_in_balance() -> Step:
    """Weights of the tasks follow the norms of their gradients, by a second derivative."""
    body = nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU()).cuda()
    heads = nn.ModuleList(nn.Linear(512, 10) for _ in range(3)).cuda()
    shares = nn.Parameter(torch.ones(3, device="cuda"))
    optimizer = torch.optim.Adam([*body.parameters(), *heads.parameters()])
    balance = torch.optim.Adam([shares], 0.025)

    def step() -> None:
        x, target = torch.randn(512, 128, device="cuda"), torch.randn(3, 512, 10, device="cuda")
        shared = body(x)
        losses = torch.stack([functional.mse_loss(head(shared), own) for head, own in zip(heads, target)])
        optimizer.zero_grad()
        (shares.detach() * losses).sum().backward(retain_graph=True)
        norms = torch.stack([
            torch.autograd.grad(share * loss, body[2].weight, retain_graph=True, create_graph=True)[0].norm()
            for share, loss in zip(shares, losses)])
        balance.zero_grad()
        (norms - norms.mean().detach()).abs().sum().backward(inputs=[shares])
        balance.step()
        optimizer.step()
        with torch.no_grad():
            shares.mul_(3 / shares.sum())
    return step


def soft_actor() -> Step:
    """Two critics, their slow copies, an actor of squashed normals and a learnt temperature."""
    def network(inside: int, outside: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inside, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, outside))

    actor = network(24, 12).cuda()
    critics, slow = (nn.ModuleList(network(30, 1) for _ in range(2)).cuda() for _ in range(2))
    temperature = torch.zeros(1, device="cuda", requires_grad=True)
    optimizers = [torch.optim.Adam(part, 3e-4) for part in (actor.parameters(), critics.parameters(), [temperature])]

    def acted(seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, spread = actor(seen).chunk(2, -1)
        normal = torch.distributions.Normal(mean, spread.clamp(-20, 2).exp(), validate_args=False)
        squashed = torch.distributions.TransformedDistribution(
            normal, torch.distributions.TanhTransform(cache_size=1), validate_args=False)
        action = squashed.rsample()
        return action, squashed.log_prob(action).sum(-1, keepdim=True)

    def least(of: nn.ModuleList, seen: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        both = torch.cat((seen, action), -1)
        return torch.min(*(critic(both) for critic in of))

    def step() -> None:
        seen, after = (torch.randn(1024, 24, device="cuda") for _ in range(2))
        taken, reward = torch.rand(1024, 6, device="cuda"), torch.rand(1024, 1, device="cuda")
        with torch.no_grad():
            action, likely = acted(after)
            wanted = reward + 0.99 * (least(slow, after, action) - temperature.exp() * likely)
        loss = sum(functional.mse_loss(critic(torch.cat((seen, taken), -1)), wanted) for critic in critics)
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        action, likely = acted(seen)
        optimizers[0].zero_grad()
        (temperature.exp().detach() * likely - least(critics, seen, action)).mean().backward()
        optimizers[0].step()
        optimizers[2].zero_grad()
        (-temperature * (likely.detach() - 6)).mean().backward()
        optimizers[2].step()
        with torch.no_grad():
            torch._foreach_lerp_(list(slow.parameters()), list(critics.parameters()), 0.005)
    return step


def few_examples() -> Step:
    """Means of few embedded pictures of each class are what the others are compared with."""
    def block(inside: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inside, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2))

    model = nn.Sequential(block(3), block(64), block(64), block(64), nn.Flatten())

    def loss_of(model: nn.Module) -> torch.Tensor:
        out = model(images(80, 48))
        centres = out[:20].unflatten(0, (5, 4)).mean(1)
        labels = torch.arange(5, device="cuda").repeat_interleave(12)
        return functional.cross_entropy(-torch.cdist(out[20:], centres).pow(2), labels)
    return training(model, loss_of)


class _Features(nn.Module):
    """Steps that each look at few columns: a sparse softmax by sorting, ghost batches, gates."""

    def __init__(self, columns: int = 64, width: int = 64) -> None:
        super().__init__()
        self.norm, self.shared = nn.BatchNorm1d(columns), nn.Linear(columns, 2 * width, bias=False)
        self.own = nn.ModuleList(nn.Linear(width, 2 * width, bias=False) for _ in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm1d(2 * width) for _ in range(4))
        self.masks = nn.ModuleList(nn.Linear(width, columns, bias=False) for _ in range(3))
        self.head = nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        prior, state, total = torch.ones_like(x), self._gated(x, 0), 0
        for number, layer in enumerate(self.masks):
            mask = self._sparse(layer(state) * prior)
            prior = prior * (1.3 - mask)
            state = self._gated(mask * x, number + 1)
            total = total + functional.relu(state)
        return self.head(total)

    def _gated(self, x: torch.Tensor, number: int) -> torch.Tensor:
        x = functional.glu(self.shared(x), -1)
        parts = [self.norms[number](part) for part in self.own[number](x).chunk(8)]
        return (x + functional.glu(torch.cat(parts), -1)) * 0.5 ** 0.5

    def _sparse(self, x: torch.Tensor) -> torch.Tensor:
        x = x - x.max(-1, keepdim=True).values
        ordered = x.sort(-1, descending=True).values
        places = torch.arange(1, x.shape[-1] + 1, device=x.device)
        sums = ordered.cumsum(-1) - 1
        count = (places * ordered > sums).sum(-1, keepdim=True)
        return torch.clamp(x - sums.gather(-1, count.clamp(min=1) - 1) / count, min=0)


def sparse_choice_of_columns() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        out = model(torch.randn(4096, 64, device="cuda"))
        return functional.cross_entropy(out, torch.randint(0, 2, (4096,), device="cuda"))
    return training(_Features(), loss_of, optimizer=lambda given: torch.optim.Adam(given, 0.02))


class _Separated(nn.Module):
    """Sound in short frames, masks for two speakers by dilated depthwise convolutions, frames added back."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.into, self.out = nn.Conv1d(1, width, 16, 8, bias=False), nn.Linear(width, 16, bias=False)
        self.blocks = nn.ModuleList(nn.Sequential(
            nn.Conv1d(width, 256, 1), nn.PReLU(), nn.GroupNorm(1, 256),
            nn.Conv1d(256, 256, 3, padding=2 ** n, dilation=2 ** n, groups=256), nn.PReLU(), nn.GroupNorm(1, 256),
            nn.Conv1d(256, width, 1)) for n in range(5))
        self.masks = nn.Conv1d(width, 2 * width, 1)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        frames = x = self.into(sound[:, None]).relu()
        for block in self.blocks:
            x = x + block(x)
        both = self.masks(x).unflatten(1, (2, -1)).sigmoid() * frames[:, None]
        parts = self.out(both.transpose(2, 3)).flatten(0, 1).transpose(1, 2)
        length = 8 * (parts.shape[-1] - 1) + 16
        return functional.fold(parts, (1, length), (1, 16), stride=(1, 8)).view(len(sound), 2, -1)


def speakers_apart() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        truth = torch.randn(4, 2, 8000, device="cuda")
        made = model(truth.sum(1))
        truth = truth - truth.mean(-1, keepdim=True)
        along = (made * truth).sum(-1, keepdim=True) / truth.pow(2).sum(-1, keepdim=True) * truth
        return -10 * torch.log10(along.pow(2).sum(-1) / ((made - along).pow(2).sum(-1) + 1e-8) + 1e-8).mean()
    return training(_Separated(), loss_of, clip=5.0)


PROGRAMS = (
    latents_turing, latents_bfloat16, slots_of_scenes, chunks_that_overlap, chunks_that_overlap_float16,
    buckets_of_hashes, tokens_dropped_float16_ampere, equation_in_time, tasks_in_balance, soft_actor, few_examples,
    sparse_choice_of_columns, speakers_apart,
)
