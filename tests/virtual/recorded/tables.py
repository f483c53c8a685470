"""Graphs, points, tables of categories, sequences of events: gather, scatter, sort, sparse gradients."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .training import Step, tokens, training


def _edges(nodes: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(0, nodes, (count,)).cuda(), torch.randint(0, nodes, (count,)).cuda()


class _Convolution(nn.Module):
    """Mean over neighbours by `index_add`."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inside, outside)

    def forward(self, x: torch.Tensor, edges: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        source, target = edges
        degree = torch.zeros(len(x), device=x.device).index_add_(0, target, torch.ones(len(target), device=x.device))
        x = self.linear(x)
        summed = torch.zeros_like(x).index_add(0, target, x[source])
        return summed / degree.clamp(min=1)[:, None]


class _Attention(nn.Module):
    """Softmax over neighbours by `scatter_reduce` and `scatter_add`."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inside, outside, bias=False)
        self.sent, self.received = (nn.Parameter(torch.randn(outside) * 0.1) for _ in range(2))

    def forward(self, x: torch.Tensor, edges: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        source, target = edges
        x = self.linear(x)
        score = functional.leaky_relu((x * self.sent).sum(-1)[source] + (x * self.received).sum(-1)[target], 0.2)
        largest = torch.zeros(len(x), device=x.device).scatter_reduce(0, target, score, "amax")
        score = (score - largest[target].detach()).exp()
        whole = torch.zeros(len(x), device=x.device).scatter_add(0, target, score)
        message = x[source] * (score / (whole[target] + 1e-9))[:, None]
        return torch.zeros_like(x).scatter_add(0, target[:, None].expand_as(message), message)


class _Graph(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList((kind(128, 256), kind(256, 256), kind(256, 40)))

    def forward(self, x: torch.Tensor, edges: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = functional.dropout(functional.relu(layer(x, edges)), 0.5, self.training)
        return self.layers[-1](x, edges)


def _nodes(model: nn.Module) -> torch.Tensor:
    out = model(torch.randn(4000, 128, device="cuda"), _edges(4000, 30000))
    return functional.cross_entropy(out, torch.randint(0, 40, (4000,)).cuda())


def graph_convolution() -> Step:
    return training(_Graph(_Convolution), _nodes)


def graph_convolution_bfloat16() -> Step:
    return training(_Graph(_Convolution), _nodes, precision=torch.bfloat16)


def graph_attention() -> Step:
    return training(_Graph(_Attention), _nodes)


class _Points(nn.Module):
    """Neighbours by distance and `topk`, features by `gather`, maxima over neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 64), nn.Linear(128, 128)
        self.head = nn.Sequential(nn.Linear(128, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 40))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.first(self._with_neighbours(points, points))).amax(2)
        x = functional.relu(self.second(self._with_neighbours(points, x))).max(2).values
        return self.head(x.max(1).values)

    def _with_neighbours(self, points: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        near = torch.cdist(points, points).topk(16, largest=False).indices
        index = near[..., None].expand(*near.shape, x.shape[-1])
        around = torch.gather(x[:, None].expand(-1, x.shape[1], -1, -1), 2, index)
        centre = x[:, :, None].expand_as(around)
        return torch.cat((centre, around - centre), -1)


def clouds_of_points() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        return functional.cross_entropy(
            model(torch.randn(8, 512, 3, device="cuda")), torch.randint(0, 40, (8,), device="cuda"))
    return training(_Points(), loss_of)


class _Clicks(nn.Module):
    """Bags of categories and numbers, and the products of all pairs."""

    def __init__(self, is_sparse: bool, mode: str = "sum") -> None:
        super().__init__()
        self.bags = nn.ModuleList(nn.EmbeddingBag(20000, 64, mode=mode, sparse=is_sparse) for _ in range(8))
        self.bottom = nn.Sequential(nn.Linear(13, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU())
        self.top = nn.Sequential(nn.Linear(64 + 36, 256), nn.ReLU(), nn.Linear(256, 1))

    def forward(self, numbers: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        dense = self.bottom(numbers)
        places = torch.arange(0, categories.shape[1], 4, device="cuda")
        parts = torch.stack([dense] + [bag(ids, places) for bag, ids in zip(self.bags, categories)], 1)
        rows, columns = torch.tril_indices(9, 9, -1, device="cuda")
        pairs = torch.bmm(parts, parts.transpose(1, 2))[:, rows, columns]
        return self.top(torch.cat((dense, pairs), 1)).squeeze(1)


def _clicked(model: nn.Module) -> torch.Tensor:
    out = model(torch.randn(2048, 13).cuda(), torch.randint(0, 20000, (8, 4 * 2048)).cuda())
    return functional.binary_cross_entropy_with_logits(out, torch.rand(2048).cuda())


def clicks() -> Step:
    return training(_Clicks(is_sparse=False), _clicked, optimizer=lambda given: torch.optim.Adagrad(given, 0.01))


def clicks_of_maxima() -> Step:
    return training(_Clicks(is_sparse=False, mode="max"), _clicked)


def clicks_with_sparse_gradients() -> Step:
    return training(_Clicks(is_sparse=True), _clicked, optimizer=lambda given: torch.optim.SGD(given, 0.1))


class _Neighbours(nn.Module):
    """Words and their surroundings, against random others."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.outside = (nn.Embedding(30000, 200, sparse=True) for _ in range(2))

    def forward(self, word: torch.Tensor, near: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        centre = self.inside(word)
        found = functional.logsigmoid((centre * self.outside(near)).sum(-1))
        missed = functional.logsigmoid(-torch.bmm(self.outside(others), centre[..., None])[..., 0]).sum(-1)
        return -(found + missed).mean()


def words_and_surroundings() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        return model(*(torch.randint(0, 30000, size).cuda() for size in ((4096,), (4096,), (4096, 5))))
    return training(_Neighbours(), loss_of, optimizer=lambda given: torch.optim.SGD(given, 0.05))


class _Ranked(nn.Module):
    """A recommender of sequences: sorted scores, cumulative gains, masks of the future."""

    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(12000, 128, padding_idx=0)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 4, 512, batch_first=True), 2)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        mask = torch.triu(torch.ones(items.shape[1], items.shape[1], dtype=torch.bool, device="cuda"), 1)
        x = self.layers(self.items(items), mask=mask, is_causal=True)
        return x @ self.items.weight[:2000].t()


def ranked_lists() -> Step:
    def loss_of(model: nn.Module) -> torch.Tensor:
        scores = model(tokens(16, 50, 12000))
        ordered, order = scores.sort(-1, descending=True)
        gain = torch.cumsum(ordered.softmax(-1), -1)
        likelihood = torch.logcumsumexp(ordered.flip(-1), -1).mean()
        return likelihood - gain.mean() + order.float().mean() * 0 + scores.topk(10).values.std()
    return training(_Ranked(), loss_of)


PROGRAMS = (
    graph_convolution, graph_convolution_bfloat16, graph_attention, clouds_of_points, clicks, clicks_of_maxima,
    clicks_with_sparse_gradients, words_and_surroundings, ranked_lists,
)
