"""Points, molecules, volumes, splats and boxes: neighbours, forces, deep supervision, hashes, sampled places."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .training import Step, images, training


class _Edges(nn.Module):
    """Nearest neighbours in the space of features, found anew by each layer; maxima over their edges."""

    def __init__(self, near: int = 20) -> None:
        super().__init__()
        self.near, sizes = near, ((6, 64), (128, 64), (128, 128))
        self.layers = nn.ModuleList(nn.Sequential(
            nn.Conv2d(*size, 1, bias=False), nn.BatchNorm2d(size[1]), nn.LeakyReLU(0.2)) for size in sizes)
        self.join = nn.Sequential(nn.Conv1d(256, 512, 1, bias=False), nn.BatchNorm1d(512), nn.LeakyReLU(0.2))
        self.head = nn.Sequential(
            nn.Linear(1024, 256), nn.BatchNorm1d(256), nn.LeakyReLU(0.2), nn.Dropout(0.5), nn.Linear(256, 40))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = []
        for layer in self.layers:
            x = layer(self._edges(x)).max(-1)[0]
            seen.append(x)
        x = self.join(torch.cat(seen, 1))
        pooled = functional.adaptive_max_pool1d(x, 1), functional.adaptive_avg_pool1d(x, 1)
        return self.head(torch.cat(pooled, 1).flatten(1))

    def _edges(self, x: torch.Tensor) -> torch.Tensor:
        batch, width, count = x.shape
        square = (x ** 2).sum(1, keepdim=True)
        far = -square - (-2 * torch.matmul(x.transpose(2, 1), x)) - square.transpose(2, 1)
        index = far.topk(self.near, dim=-1)[1] + torch.arange(batch, device=x.device).view(-1, 1, 1) * count
        rows = x.transpose(2, 1).contiguous()
        around = rows.view(batch * count, -1)[index.view(-1), :].view(batch, count, self.near, width)
        own = rows.view(batch, count, 1, width).repeat(1, 1, self.near, 1)
        return torch.cat((around - own, own), 3).permute(0, 3, 1, 2).contiguous()


def edges_between_points() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        labels = torch.randint(0, 40, (8,), device="cuda")
        soft = torch.full((8, 40), 0.2 / 39, device="cuda").scatter(1, labels[:, None], 0.8)
        return -(soft * model(torch.randn(8, 3, 256, device="cuda")).log_softmax(1)).sum(1).mean()
    return training(_Edges(), loss_of, optimizer=lambda given: torch.optim.SGD(given, 0.1, 0.9, weight_decay=1e-4))


class _Induced(nn.Module):
    """A few learnt points stand between the points of a set, and seeds turn it into another set."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(3, width), nn.Linear(width, 3)
        self.points = nn.ParameterList(nn.Parameter(torch.randn(1, 32, width)) for _ in range(2))
        self.seeds = nn.Parameter(torch.randn(1, 200, width))
        self.attend = nn.ModuleList(nn.MultiheadAttention(width, 4, batch_first=True) for _ in range(5))
        self.feed = nn.ModuleList(nn.Linear(width, width) for _ in range(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.into(x)
        for number, points in enumerate(self.points):
            met = self._attended(2 * number, points.repeat(len(x), 1, 1), x)
            x = self._attended(2 * number + 1, x, met)
        return self.out(self._attended(4, self.seeds.repeat(len(x), 1, 1), x))

    def _attended(self, number: int, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        x = x + self.attend[number](x, other, other)[0]
        return x + functional.relu(self.feed[number](x))


def _from_each_to_nearest(model: nn.Module) -> torch.Tensor:
    cloud = torch.randn(8, 600, 3, device="cuda")
    far = (model(cloud)[:, :, None] - cloud[:, None]).pow(2).sum(-1)
    return far.min(1).values.mean() + far.min(2).values.mean()


def sets_by_induced_points() -> Step:
    return training(_Induced(), _from_each_to_nearest)


def sets_by_induced_points_float16_turing() -> Step:
    return training(_Induced(), _from_each_to_nearest, precision=torch.float16)


class _Molecule(nn.Module):
    """Energy by messages along the pairs that are near, turned with the molecule; forces are its slope."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.atoms = nn.Embedding(10, width)
        self.messages, self.moves, self.updates = (nn.ModuleList(
            nn.Sequential(nn.Linear(inside, width), nn.SiLU(), nn.Linear(width, outside)) for _ in range(3))
            for inside, outside in ((2 * width + 16, width), (width, 1), (2 * width, width)))
        self.head = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, kinds: torch.Tensor, places: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        x, (source, target) = self.atoms(kinds), pairs
        centres = torch.linspace(0, 5, 16, device=places.device)
        for message, move, update in zip(self.messages, self.moves, self.updates):
            way = places[source] - places[target]
            far = way.norm(dim=-1, keepdim=True).clamp(min=1e-3)
            waves = torch.exp(-4 * (far - centres) ** 2) * 0.5 * (torch.cos(far * 0.6).clamp(min=-1) + 1)
            sent = message(torch.cat((x[source], x[target], waves), -1))
            places = places.index_add(0, target, way / (far + 1) * move(sent))
            gathered = torch.zeros_like(x).index_add(0, target, sent)
            x = x + update(torch.cat((x, gathered), -1))
        return self.head(x).squeeze(-1)


def forces_of_molecules() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        kinds = torch.randint(0, 10, (512,), device="cuda")
        places = torch.randn(512, 3, device="cuda", requires_grad=True)
        pairs = torch.randint(0, 512, (2, 6000), device="cuda")
        own = model(kinds, places, pairs)
        energy = own.new_zeros(16).index_add(0, torch.arange(16, device="cuda").repeat_interleave(32), own)
        forces = -torch.autograd.grad(energy.sum(), places, create_graph=True)[0]
        return functional.l1_loss(energy, torch.randn(16).cuda()) + 100 * functional.mse_loss(
            forces, torch.randn(512, 3, device="cuda"))
    return training(_Molecule(), loss_of, clip=10.0)


class _Organs(nn.Module):
    """A U of three-dimensional convolutions, half of it recomputed, judged at every height."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        sizes = (width, 2 * width, 4 * width)
        self.stem = self._block(1, width)
        self.down = nn.ModuleList(self._block(inside, outside, 2) for inside, outside in zip(sizes, sizes[1:]))
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(outside, inside, 2, 2, bias=False) for inside, outside in zip(sizes, sizes[1:]))
        self.join = nn.ModuleList(self._block(2 * size, size) for size in sizes[:-1])
        self.heads = nn.ModuleList(nn.Conv3d(size, 4, 1) for size in sizes[:-1])

    def _block(self, inside: int, outside: int, stride: int = 1) -> nn.Module:
        return nn.Sequential(
            nn.Conv3d(inside, outside, 3, stride, 1), nn.InstanceNorm3d(outside, affine=True), nn.LeakyReLU(0.01, True),
            nn.Conv3d(outside, outside, 3, 1, 1), nn.InstanceNorm3d(outside, affine=True), nn.LeakyReLU(0.01, True))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        skips, outs = [self.stem(x)], []
        for block in self.down:
            skips.append(checkpoint(block, skips[-1], use_reentrant=False))
        x = skips.pop()
        for up, join, head in reversed(list(zip(self.up, self.join, self.heads))):
            x = join(torch.cat((up(x), skips.pop()), 1))
            outs.append(head(x))
        return outs


def _organs(model: nn.Module) -> torch.Tensor:
    labels = torch.randint(0, 4, (1, 1, 32, 48, 48), device="cuda")
    total = torch.zeros((), device="cuda")
    for out in model(torch.randn(1, 1, 32, 48, 48, device="cuda")):
        small = functional.interpolate(labels.float(), out.shape[2:], mode="nearest").long()
        one = torch.zeros_like(out).scatter_(1, small, 1)
        shares = out.softmax(1)
        both, all_of = (shares * one).sum((0, 2, 3, 4)), (shares + one).sum((0, 2, 3, 4))
        total = total + functional.cross_entropy(out, small[:, 0]) - ((2 * both + 1) / (all_of + 1))[1:].mean()
    return total


def organs_in_volumes() -> Step:
    return training(_Organs(), _organs, clip=12.0, optimizer=lambda given: torch.optim.SGD(
        given, 0.01, 0.99, nesterov=True, weight_decay=3e-5))


def organs_in_volumes_float16() -> Step:
    return training(_Organs(), _organs, precision=torch.float16, clip=12.0)


class _Grids(nn.Module):
    """Features of places from tables by hashes of the corners around them, at eight widths."""

    def __init__(self, size: int = 2 ** 14) -> None:
        super().__init__()
        self.tables, self.size = nn.ModuleList(nn.Embedding(size, 2) for _ in range(8)), size
        self.inner = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 16))
        self.colour = nn.Sequential(nn.Linear(31, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
        self.register_buffer("primes", torch.tensor([1, 2654435761, 805459861]))
        self.register_buffer("corners", torch.cartesian_prod(*(torch.arange(2),) * 3))

    def forward(self, x: torch.Tensor, way: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = []
        for level, table in enumerate(self.tables):
            place = x * 16 * 1.5 ** level
            low = place.floor()
            corner = low.long()[:, None] + self.corners
            hashed = corner * self.primes
            index = (hashed[..., 0] ^ hashed[..., 1] ^ hashed[..., 2]) % self.size
            share = (place - low)[:, None]
            weight = torch.where(self.corners.bool(), share, 1 - share).prod(-1)
            found.append((table(index) * weight[..., None]).sum(1))
        out = self.inner(torch.cat(found, -1))
        return out[:, 0].exp(), self.colour(torch.cat((out[:, 1:], way.repeat_interleave(16, 1)[:, :16]), -1)).sigmoid()


def fields_of_hashes() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        way, depth = torch.randn(512, 3, device="cuda"), torch.linspace(0.1, 1, 32, device="cuda")
        points = (way[:, None] * depth[:, None]).view(-1, 3)
        dense, colour = model(points, way[:, None, :1].expand(-1, 32, -1).reshape(-1, 1))
        seen = torch.cumsum(dense.view(512, 32) * 0.03, 1)
        weight = torch.exp(-functional.pad(seen, (1, 0))[:, :-1]) - torch.exp(-seen)
        made = (weight[..., None] * colour.view(512, 32, 3)).sum(1) + (1 - weight.sum(1, keepdim=True))
        return functional.smooth_l1_loss(made, torch.rand(512, 3, device="cuda"), beta=0.1)
    return training(_Grids(), loss_of, optimizer=lambda given: torch.optim.Adam(given, 1e-2, eps=1e-15))


def splats_that_multiply() -> Step:
    """A picture of flat Gaussians in order of depth; every second step some split, with the optimizer's state."""
    shapes = {"places": 2, "spreads": 2, "turns": 1, "colours": 3, "opaque": 1, "depths": 1}
    splats = {name: nn.Parameter(torch.randn(300, width, device="cuda")) for name, width in shapes.items()}
    optimizer = torch.optim.Adam([{"params": [part], "lr": 1e-2, "name": name} for name, part in splats.items()])
    grid = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, 48, device="cuda"),) * 2, indexing="ij"), -1).view(-1, 2)

    def drawn() -> torch.Tensor:
        order = splats["depths"][:, 0].argsort()
        turn = splats["turns"][order, 0]
        root = torch.stack((turn.cos(), -turn.sin(), turn.sin(), turn.cos()), -1).view(-1, 2, 2)
        root = root * splats["spreads"][order].exp()[:, None]
        spread = root @ root.transpose(1, 2) + 1e-3 * torch.eye(2, device="cuda")
        sharp = torch.stack((spread[:, 1, 1], -spread[:, 0, 1], -spread[:, 1, 0], spread[:, 0, 0]), -1).view(-1, 2, 2)
        sharp = sharp / (spread[:, 0, 0] * spread[:, 1, 1] - spread[:, 0, 1] ** 2)[:, None, None]
        way = grid[:, None] - splats["places"][order]
        share = torch.exp(-0.5 * torch.einsum("pni,nij,pnj->pn", way, sharp, way))
        share = share * splats["opaque"][order, 0].sigmoid()
        clear = torch.cumprod(functional.pad(1 - share, (1, 0), value=1.0), 1)[:, :-1]
        return torch.einsum("pn,nc->pc", share * clear, splats["colours"][order].sigmoid())

    def multiplied() -> None:
        for group in optimizer.param_groups:
            old = group["params"][0]
            state = optimizer.state.pop(old, {})
            new = nn.Parameter(torch.cat((old.detach(), old.detach()[:100] + 0.01)))
            for kind in ("exp_avg", "exp_avg_sq") if state else ():
                state[kind] = torch.cat((state[kind], torch.zeros_like(old[:100])))
            optimizer.state[new], group["params"][0], splats[group["name"]] = state, new, new

    count = 0

    def step() -> None:
        nonlocal count
        loss = (drawn() - torch.rand(48 * 48, 3, device="cuda")).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        count += 1
        if count % 2 == 0:
            multiplied()
    return step


class _Sampled(nn.Module):
    """Queries look at few places of several pictures, which they choose themselves."""

    def __init__(self, width: int, heads: int = 4, points: int = 4) -> None:
        super().__init__()
        self.heads, self.points = heads, points
        self.where, self.shares = nn.Linear(width, heads * 2 * points * 2), nn.Linear(width, heads * 2 * points)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(
        self, query: torch.Tensor, at: torch.Tensor, memory: torch.Tensor, sizes: tuple[tuple[int, int], ...]
    ) -> torch.Tensor:
        batch, count, width = query.shape
        values = self.value(memory).split([height * breadth for height, breadth in sizes], 1)
        where = at[:, :, None, None, None] + 0.1 * self.where(query).view(batch, count, self.heads, 2, self.points, 2)
        shares = self.shares(query).view(batch, count, self.heads, -1).softmax(-1)
        shares = shares.transpose(1, 2).reshape(batch * self.heads, 1, count, -1)
        seen = []
        for level, (value, size) in enumerate(zip(values, sizes)):
            picture = value.flatten(2).transpose(1, 2).reshape(batch * self.heads, -1, *size)
            grid = (2 * where - 1)[:, :, :, level].transpose(1, 2).flatten(0, 1)
            seen.append(functional.grid_sample(picture, grid, "bilinear", "zeros", align_corners=False))
        mixed = (torch.stack(seen, -2).flatten(-2) * shares).sum(-1).view(batch, width, count)
        return self.out(mixed.transpose(1, 2).contiguous())


class _Boxes(nn.Module):
    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 4, 3), nn.GroupNorm(8, 64), nn.ReLU())
        self.levels = nn.ModuleList(nn.Conv2d(64, width, 3, stride, 1) for stride in (2, 4))
        self.queries, self.at = nn.Embedding(60, width), nn.Linear(width, 2)
        self.look = nn.ModuleList(_Sampled(width) for _ in range(3))
        self.self_look = nn.ModuleList(nn.MultiheadAttention(width, 4, batch_first=True) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(6))
        self.kind, self.box = nn.Linear(width, 20), nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.stem(x)
        levels = [level(x) for level in self.levels]
        memory = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        sizes = tuple((level.shape[2], level.shape[3]) for level in levels)
        query = self.queries.weight.expand(len(x), -1, -1)
        at, outs = self.at(query).sigmoid(), []
        for number, (look, own) in enumerate(zip(self.look, self.self_look)):
            query = self.norms[2 * number](query + own(query, query, query, need_weights=False)[0])
            query = self.norms[2 * number + 1](query + look(query, at, memory, sizes))
            outs.append(query)
        x = torch.stack(outs)
        return self.kind(x), self.box(x).sigmoid()


def _overlap_lost(boxes: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """One minus the generalised share of the overlap in the union."""
    one, other = (torch.cat((part[..., :2] - part[..., 2:] / 2, part[..., :2] + part[..., 2:] / 2), -1)
                  for part in (boxes, truth))
    inside = (torch.minimum(one[..., 2:], other[..., 2:]) - torch.maximum(one[..., :2], other[..., :2])).clamp(min=0)
    around = (torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])).prod(-1)
    union = boxes[..., 2:].prod(-1) + truth[..., 2:].prod(-1) - inside.prod(-1)
    return 1 - (inside.prod(-1) / union - (around - union) / around)


def boxes_at_sampled_places_bfloat16() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        kinds, boxes = model(images(4, 128))
        chosen = torch.arange(10, device="cuda")
        truth, target = torch.rand(4, 10, 4, device="cuda"), torch.zeros_like(kinds)
        target[:, :, chosen, 3] = 1
        share = kinds.sigmoid()
        weight = 0.25 * target * (1 - share) ** 2 + 0.75 * (1 - target) * share ** 2
        focal = (weight * functional.binary_cross_entropy_with_logits(kinds, target, reduction="none")).sum()
        found = boxes[:, :, chosen].float()
        truth = truth.expand_as(found)
        return focal / 40 + functional.l1_loss(found, truth) + _overlap_lost(found, truth).mean()
    return training(_Boxes(), loss_of, precision=torch.bfloat16, clip=0.1)


PROGRAMS = (
    edges_between_points, sets_by_induced_points, sets_by_induced_points_float16_turing, forces_of_molecules,
    organs_in_volumes, organs_in_volumes_float16, fields_of_hashes, splats_that_multiply,
    boxes_at_sampled_places_bfloat16,
)
