"""`values="real"`: the program computes what it computes on the host, and takes the same bytes as without values."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn import functional

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb", values="real") as card:
        yield card


def classifier(device: str) -> list[float]:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 3))
    images, labels = torch.randn(4, 3, 8, 8).to(device), torch.tensor([0, 1, 2, 0]).to(device)
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def encoder(device: str) -> list[float]:
    """With a mask, so that the memory-efficient kernel is taken."""
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True), 2).to(device)
    return steps_of(model, device, lambda: model(
        torch.ones(2, 5, 16, device=device), src_key_padding_mask=torch.tensor([[False] * 4 + [True]] * 2).to(device)))


def recurrent(kind: type[nn.Module]):
    def run(device: str) -> list[float]:
        model = kind(4, 6, 2, bidirectional=True, batch_first=True).to(device)
        return steps_of(model, device, lambda: model(torch.ones(2, 5, 4, device=device))[0])
    return run


def packed(device: str) -> list[float]:
    model = nn.LSTM(4, 6, batch_first=True).to(device)
    data = torch.ones(2, 5, 4, device=device)
    return steps_of(model, device, lambda: model(
        nn.utils.rnn.pack_padded_sequence(data, [5, 3], batch_first=True))[0].data)


def cells(kind: type[nn.Module]):
    def run(device: str) -> list[float]:
        model = kind(4, 6).to(device)

        def forward() -> torch.Tensor:
            state = model(torch.ones(2, 4, device=device))
            state = model(torch.ones(2, 4, device=device), state)
            return state[0] if isinstance(state, tuple) else state

        return steps_of(model, device, forward)
    return run


def grouped_attention(device: str) -> list[float]:
    """Fewer heads of keys than of queries, and a causal mask."""
    query, key = torch.randn(1, 4, 8, 16), torch.randn(1, 2, 8, 16)
    query, key = query.to(device).requires_grad_(), key.to(device).requires_grad_()
    out = functional.scaled_dot_product_attention(
        query, key.repeat_interleave(2, 1), key.repeat_interleave(2, 1), is_causal=True)
    out.square().sum().backward()
    return [out.sum().item(), query.grad.sum().item(), key.grad.sum().item()]


def steps_of(model: nn.Module, device: str, forward) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    found = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = forward().square().sum()
        loss.backward()
        optimizer.step()
        found += [loss.item(), sum(parameter.grad.square().sum().item() for parameter in model.parameters())]
    return found


PROGRAMS = {
    "convolutions": classifier, "encoder": encoder, "attention": grouped_attention, "packed sequence": packed,
    "LSTM": recurrent(nn.LSTM), "GRU": recurrent(nn.GRU), "RNN": recurrent(nn.RNN),
    "LSTM cell": cells(nn.LSTMCell), "GRU cell": cells(nn.GRUCell),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_programs_compute_what_the_host_computes_and_take_the_bytes_they_take_without_values(program) -> None:
    torch.manual_seed(3)
    expected = program("cpu")
    peaks = []
    for values in ("real", "zeros"):
        torch.manual_seed(3)
        with virtual_gpu("a100-40gb", values=values) as gpu:
            found = program("cuda")
            peaks.append((gpu.max_allocated_bytes, gpu.max_reserved_bytes))
        if values == "real":
            assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)
            assert gpu.value_reads == ()
    assert peaks[0] == peaks[1]


READS = {
    "mask": (lambda x: x[x > 5].tolist(), [6, 7, 8, 9, 10, 11]),
    "any": (lambda x: (x > 100).any().item(), False),
    "all": (lambda x: (x >= 0).all().item(), True),
    "isnan": (lambda x: torch.isnan(x / 0 * 0).any().item(), True),
    "unique": (lambda x: torch.unique(x % 3).tolist(), [0, 1, 2]),
    "largest": (lambda x: x.flatten().topk(2).indices.tolist(), [11, 10]),
    "assignment": (lambda x: x.masked_fill_(x < 6, 1).sum().item(), 57),
    "view": (lambda x: x.t().reshape(-1)[:3].tolist(), [0, 4, 8]),
    "copy": (lambda x: copy.deepcopy(x).add_(1).sum().item(), 78),
    "file": (lambda x: _saved_and_loaded(x).sum().item(), 66),
    "comparison": (lambda x: torch.equal(x, x + 1) or torch.allclose(x, x + 1), False),
    "conjugate": (lambda x: torch.complex(x, x).conj()[0, 1].item(), 1 - 1j),
    "format": (lambda x: f"{x[0, 1]:.1f}", "1.0"),
    "an operator that memdoctor does not know": (lambda x: torch.segment_reduce(
        x[:, 0].contiguous(), "sum", lengths=torch.tensor([1, 2], device="cuda")).tolist(), [0, 12]),
}


def _saved_and_loaded(tensor: torch.Tensor) -> torch.Tensor:
    file = io.BytesIO()
    torch.save(tensor, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(("read", "expected"), READS.values(), ids=READS.keys())
def test_reads_answer_what_was_computed(gpu: VirtualGPU, read, expected) -> None:
    assert read(torch.arange(12.0).reshape(3, 4).to("cuda")) == expected
    assert gpu.value_reads == ()


def test_the_scale_of_mixed_precision_falls_after_an_overflow(gpu: VirtualGPU) -> None:
    weight = torch.ones(1, device="cuda", requires_grad=True)
    optimizer, scaler = torch.optim.SGD([weight], lr=1.0), torch.amp.GradScaler("cuda")
    for factor, scale in ((0.5, 65_536), (float("inf"), 32_768)):
        optimizer.zero_grad()
        scaler.scale((weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert (weight.item(), scaler.get_scale()) == (0.5, scale)


def test_numbers_are_drawn_from_the_cards_generator_alone(gpu: VirtualGPU) -> None:
    torch.manual_seed(5)
    first, host = torch.rand(3, device="cuda").tolist(), torch.rand(3).tolist()
    torch.manual_seed(5)
    assert torch.rand(3).tolist() == host
    assert torch.rand(3, device="cuda").tolist() == first
    assert torch.rand(3, device="cuda").tolist() != first


def test_training_stops_early_where_the_loss_says_so(gpu: VirtualGPU) -> None:
    weight = torch.tensor([4.0], device="cuda", requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.25)
    for step in range(100):
        loss = (weight**2).sum()
        if loss < 1:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (step, weight.item()) == (3, 0.5)


def test_an_agent_reaches_the_end_of_its_episodes(gpu: VirtualGPU) -> None:
    """The policy gradient of a walk that ends where it leaves a corridor; without values it never would."""
    policy = nn.Linear(1, 2).cuda()
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.1)
    for _ in range(3):
        place, chosen = torch.zeros(1, device="cuda"), []
        while place.abs().item() < 3:
            choice = torch.distributions.Categorical(logits=policy(place))
            action = choice.sample()
            chosen.append(choice.log_prob(action))
            place = place + action * 2 - 1
        optimizer.zero_grad()
        (-torch.stack(chosen).sum()).backward()
        optimizer.step()
        assert len(chosen) >= 3


def test_boxes_that_overlap_are_suppressed(gpu: VirtualGPU) -> None:
    """The loop of a detector, whose length hangs on its scores and boxes."""
    boxes = torch.tensor([[0.0, 10.0], [1.0, 11.0], [20.0, 30.0]], device="cuda")
    scores = torch.tensor([0.8, 0.9, 0.7], device="cuda")
    order, kept = scores.argsort(descending=True), []
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best.item())
        common = torch.minimum(boxes[best, 1], boxes[rest, 1]) - torch.maximum(boxes[best, 0], boxes[rest, 0])
        order = rest[common < 5]
    assert kept == [1, 2]


@pytest.mark.skipif(not hasattr(torch.ops.aten, "_fused_rms_norm"), reason="this PyTorch puts the norm together")
def test_a_norm_by_the_root_of_the_mean_square_has_slopes_and_slopes_of_slopes(gpu: VirtualGPU) -> None:
    def computed(x: torch.Tensor, weight: torch.Tensor) -> list[torch.Tensor]:
        out = functional.rms_norm(x, (8,), weight)
        slopes = torch.autograd.grad(out.pow(3).sum(), (x, weight), create_graph=True)
        again = torch.autograd.grad(sum(slope.square().sum() for slope in slopes), (x, weight))
        return [one.detach().cpu() for one in (out, *slopes, *again)]

    host = torch.randn(5, 8), torch.randn(8)
    expected = computed(*(one.clone().requires_grad_() for one in host))
    found = computed(*(one.cuda().requires_grad_() for one in host))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("p", [1, 2, 3.0, float("inf")])
def test_rows_scaled_to_a_largest_norm_have_the_slopes_of_the_host(gpu: VirtualGPU, p: float) -> None:
    host = torch.randn(6, 7)

    def slopes(x: torch.Tensor) -> torch.Tensor:
        first = torch.autograd.grad(x.renorm(p, 0, 1.0).pow(3).sum(), x, create_graph=True)[0]
        return torch.stack((first, torch.autograd.grad(first.square().sum(), x)[0])).detach().cpu()

    torch.testing.assert_close(slopes(host.cuda().requires_grad_()), slopes(host.clone().requires_grad_()))
