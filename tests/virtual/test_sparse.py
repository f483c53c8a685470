"""Sparse tensors keep their elements on the card: gradients of embeddings, their optimizer, products."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from memdoctor.virtual.gpu import virtual_gpu


@pytest.fixture
def gpu():
    """The choice about invariants is made, since PyTorch warns of one that is not."""
    with torch.sparse.check_sparse_tensor_invariants(enable=False), virtual_gpu("a100-40gb") as card:
        yield card


def _sparse_sizes(gpu) -> list[int]:
    """Indices of 35 choices, and their rows of 16 floats."""
    return sorted(record.nbytes for record in gpu.storages.values() if record.nbytes in (35 * 8, 35 * 16 * 4))


def test_the_gradient_of_a_sparse_embedding_is_as_large_as_the_batch(gpu) -> None:
    embedding = nn.Embedding(1000, 16, sparse=True).cuda()
    for _ in range(2):
        embedding.zero_grad()
        embedding(torch.randint(0, 1000, (5, 7), device="cuda")).sum().backward()
    assert embedding.weight.grad.layout is torch.sparse_coo
    assert _sparse_sizes(gpu) == [35 * 8, 35 * 16 * 4]


def test_its_optimizer_holds_dense_moments(gpu) -> None:
    embedding = nn.Embedding(1000, 16, sparse=True).cuda()
    optimizer = torch.optim.SparseAdam(embedding.parameters())
    embedding(torch.randint(0, 1000, (5, 7), device="cuda")).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    assert [record.nbytes for record in gpu.storages.values()].count(1000 * 16 * 4) == 3


def test_a_sparse_matrix_times_a_dense_one_is_dense(gpu) -> None:
    edges = torch.randint(0, 64, (2, 300), device="cuda")
    graph = torch.sparse_coo_tensor(edges, torch.ones(300, device="cuda"), (64, 64))
    features = torch.randn(64, 100, device="cuda", requires_grad=True)
    for product in (torch.sparse.mm(graph, features), graph @ features):
        product.sum().backward()
        assert product.layout is torch.strided and product.shape == (64, 100)
    assert features.grad.shape == features.shape


def test_sparse_tensors_are_read_and_shown(gpu) -> None:
    graph = torch.sparse_coo_tensor([[0, 1], [1, 0]], [1.0, 2.0], (2, 2)).cuda()
    assert graph.cpu()._indices().tolist() == [[0, 1], [1, 0]] and graph.cpu().device.type == "cpu"
    assert "device='cuda:0'" in repr(graph)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_a_dense_matrix_becomes_sparse_where_its_contents_are_known(gpu) -> None:
    mask = torch.eye(8, dtype=torch.int64).cuda()
    assert mask.to_sparse()._nnz() == 8
    assert mask.to_sparse_csr().crow_indices().tolist() == list(range(9))


def test_a_dense_matrix_of_unknown_contents_becomes_sparse_in_every_place(gpu) -> None:
    x = torch.randn(8, 8, device="cuda", requires_grad=True)
    found = x.to_sparse()
    assert (found._nnz(), found.is_coalesced()) == (64, True)
    torch.sparse.mm(found, torch.ones(8, 3, device="cuda")).sum().backward()
    assert x.grad.shape == (8, 8)
    assert torch.randn(8, 4, 3, device="cuda").to_sparse(1)._values().shape == (8, 4, 3)


def test_least_squares_have_the_shapes_of_cudas_driver() -> None:
    with virtual_gpu("a100-40gb"):
        matrix = torch.randn(5, 8, 4, device="cuda", requires_grad=True)
        found = torch.linalg.lstsq(matrix, torch.randn(5, 8, 2, device="cuda"))
        assert (found.solution.shape, found.residuals.shape, found.rank.numel()) == ((5, 4, 2), (5, 2), 0)
        found.solution.sum().backward()
        assert matrix.grad.shape == (5, 8, 4)
