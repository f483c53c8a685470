"""What training programs do besides forward and backward runs on the card as it does on CUDA."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb") as card:
        yield card


class Doubled(torch.autograd.Function):
    """A function of the user, who asks where its tensors are."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.mark_devices = [x.device.type]
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        ctx.mark_devices += [grad.device.type, ctx.saved_tensors[0].device.type]
        assert ctx.mark_devices == ["cuda"] * 3
        return grad * 2


def test_custom_functions_and_hooks_see_the_card_in_backward(gpu: VirtualGPU) -> None:
    seen = []
    x = torch.ones(3, device="cuda", requires_grad=True)
    x.register_hook(lambda grad: seen.append(str(grad.device)))
    Doubled.apply(x).sum().backward()
    assert seen == ["cuda:0"]


def test_gradients_of_gradients(gpu: VirtualGPU) -> None:
    x = torch.ones(3, device="cuda", requires_grad=True)
    (first,) = torch.autograd.grad((x ** 3).sum(), x, create_graph=True)
    first.sum().backward()
    assert x.grad.is_cuda


@pytest.mark.filterwarnings("ignore:.torch.cpu.amp.autocast:FutureWarning")  # torch 2.4's own
@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "with hooks"])
def test_checkpointing_saves_memory(gpu: VirtualGPU, reentrant: bool) -> None:
    model = nn.Sequential(*[nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Dropout()) for _ in range(8)]).cuda()
    kept = {}
    for is_checkpointed in (False, True):
        x = torch.randn(512, 256, device="cuda", requires_grad=True)
        before = gpu.allocated_bytes
        y = x
        for block in model:
            y = checkpoint(block, y, use_reentrant=reentrant) if is_checkpointed else block(y)
        kept[is_checkpointed] = gpu.allocated_bytes - before
        y.sum().backward()
        del x, y
    assert kept[True] < kept[False] / 2


@pytest.mark.parametrize(
    "name",
    ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop", "ASGD", "LBFGS"],
)
def test_optimizers_step_in_their_default_form(gpu: VirtualGPU, name: str) -> None:
    model = nn.Linear(4, 4).cuda()
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = model(torch.ones(2, 4, device="cuda")).sum()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    tensors = [value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    assert all(tensor.is_cuda for tensor in tensors if tensor.dim())


def test_foreach_optimizers_hold_one_temporary_per_parameter_and_fused_ones_none(gpu: VirtualGPU) -> None:
    peaks = {}
    for options in ({}, {"fused": True}):
        model = nn.Linear(1024, 1024, bias=False).cuda()
        optimizer = torch.optim.AdamW(model.parameters(), **options)
        for _ in range(2):
            model.weight.grad = torch.ones_like(model.weight)
            torch.cuda.reset_peak_memory_stats()
            before = gpu.allocated_bytes
            optimizer.step()
        peaks[bool(options)] = gpu.max_allocated_bytes - before
    assert peaks == {False: 4 * 1024 * 1024, True: 0}


def test_a_gradient_scaler_never_skips_a_step(gpu: VirtualGPU) -> None:
    model = nn.Linear(4, 4).cuda()
    optimizer, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cuda")
    scaler.scale(model(torch.ones(2, 4, device="cuda")).sum()).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 65536.0
    assert optimizer.state[model.weight]["exp_avg"].is_cuda


def test_joining_gradients_adds_in_place(gpu: VirtualGPU) -> None:
    """Each further path costs the two results of the derivative of `sin`, and no new sum."""
    births = {}
    for paths in (3, 4):
        y = torch.randn(16, device="cuda", requires_grad=True) * 2
        loss = torch.stack([y.sin().sum() for _ in range(paths)]).sum()
        before = gpu.birth_count
        loss.backward()
        births[paths] = gpu.birth_count - before
    assert births[4] - births[3] == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_data_loaders_with_pinned_memory(gpu: VirtualGPU, workers: int) -> None:
    data = TensorDataset(torch.arange(8.0))
    batches = [batch for (batch,) in DataLoader(data, batch_size=4, num_workers=workers, pin_memory=True)]
    assert [batch.tolist() for batch in batches] == [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]
    assert batches[0].to("cuda", non_blocking=True).is_cuda


def test_training_in_a_thread_lands_on_the_card(gpu: VirtualGPU) -> None:
    devices = []

    def train() -> None:
        x = torch.ones(3, device="cuda", requires_grad=True)
        (x * 2).sum().backward()
        devices.append(str(x.grad.device))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert devices == ["cuda:0"]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(gpu: VirtualGPU, kind: type[nn.RNNBase]) -> None:
    layer = kind(4, 5, num_layers=2, batch_first=True).cuda()
    out, _ = layer(torch.randn(2, 3, 4, device="cuda"))
    out.sum().backward()
    assert out.is_cuda and all(parameter.grad.is_cuda for parameter in layer.parameters())


def test_streams_and_events(gpu: VirtualGPU) -> None:
    stream, event = torch.cuda.Stream(), torch.cuda.Event(enable_timing=True)
    with torch.cuda.stream(stream):
        assert torch.cuda.current_stream() == stream
        x = torch.zeros(3, device="cuda")
    torch.cuda.current_stream().wait_stream(stream)
    x.record_stream(stream)
    event.record()
    torch.cuda.synchronize()
    assert event.query() and event.elapsed_time(event) > 0


def test_data_parallel_on_one_card_calls_the_module(gpu: VirtualGPU) -> None:
    model = nn.DataParallel(nn.Linear(2, 2).cuda())
    model(torch.ones(2, 2, device="cuda")).sum().backward()
    assert model.module.weight.grad.is_cuda


def test_sparse_gradients_are_in_the_ledger(gpu: VirtualGPU) -> None:
    embedding = nn.Embedding(10, 3, sparse=True).cuda()
    embedding(torch.tensor([1, 2], device="cuda")).sum().backward()
    torch.optim.SparseAdam(embedding.parameters()).step()
    assert embedding.weight.grad._values().untyped_storage()._cdata in gpu.storages


def test_inference_mode_sees_what_composite_operators_consist_of(gpu: VirtualGPU) -> None:
    model = nn.TransformerEncoderLayer(64, 2, batch_first=True).cuda().eval()
    x = torch.randn(2, 8, 64, device="cuda")
    peaks = []
    for mode in (torch.no_grad, torch.inference_mode):
        torch.cuda.reset_peak_memory_stats()
        with mode():
            model.linear1(x).sum()
        peaks.append(gpu.max_allocated_bytes)
    assert peaks[0] == peaks[1]


def test_torch_compile_runs_eagerly_and_says_so(gpu: VirtualGPU) -> None:
    model = nn.Linear(3, 3).cuda()
    assert torch.compile(model, mode="max-autotune") is model
    assert torch.compile(dynamic=True)(model) is model
    assert [read.what for read in gpu.value_reads] == ["torch.compile, run eagerly"] * 2


def test_ctc_loss_keeps_alpha_for_backward(gpu: VirtualGPU) -> None:
    log_probs = torch.randn(10, 2, 5, device="cuda", requires_grad=True).log_softmax(2)
    targets = torch.randint(1, 5, (2, 4), device="cuda")
    loss = nn.functional.ctc_loss(log_probs, targets, torch.tensor([10, 10]), torch.tensor([4, 3]))
    alpha_bytes = 2 * 10 * (2 * 4 + 1) * 4
    assert alpha_bytes in {record.nbytes for record in gpu.storages.values()}
    loss.backward()


def test_an_operator_without_a_rule_is_named_with_the_line_and_a_way_out(gpu: VirtualGPU) -> None:
    found = r"cannot run aten.*, asked for at .*test_training.py:\d+: PyTorch has no meta kernel.*Try values=.real"
    with pytest.raises(NotImplementedError, match=found):
        torch.ones(3, 3, device="cuda").to_sparse_csc()


def test_the_collector_runs_as_rarely_as_without_the_card() -> None:
    """Cyclic garbage of the program must not be promoted to generations that are hardly ever collected."""
    class Batch:
        def __init__(self, x: torch.Tensor) -> None:
            self.x, self.itself = x, self

    collections = []

    def count(phase: str, info: dict) -> None:
        if phase == "start" and info["generation"] > 0:
            collections.append(info)

    with virtual_gpu():
        model = nn.Sequential(*[nn.Linear(32, 32) for _ in range(20)]).cuda()
        for step in range(20):
            if step == 5:
                gc.callbacks.append(count)
            model(Batch(torch.randn(8, 32, device="cuda")).x).sum().backward()
        gc.callbacks.remove(count)
    assert len(collections) <= 1


def test_memory_of_memdoctor_does_not_grow_with_the_steps(gpu: VirtualGPU) -> None:
    model = nn.Linear(8, 8).cuda()
    for _ in range(30):
        model(torch.ones(2, 8, device="cuda")).sum().backward()
        model.zero_grad()
    assert len(gpu.storages) == 2


def test_a_profile_of_the_cards_activity_records_the_hosts(gpu: VirtualGPU, capfd) -> None:
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    model = nn.Linear(4, 4).cuda()
    for chosen in (activities, activities[1:]):
        with torch.profiler.profile(activities=chosen, record_shapes=True) as profile:
            model(torch.ones(2, 4, device="cuda")).sum().backward()
        assert "aten::linear" in {event.key for event in profile.key_averages()}
        assert profile.key_averages().table(sort_by="cuda_time_total", row_limit=3)
    assert "Failed to record CUDA event" not in capfd.readouterr().err


def test_distances_under_autocast(gpu: VirtualGPU) -> None:
    """C++ leaves out an argument that has its default."""
    first = torch.ones(3, 4, device="cuda", requires_grad=True)
    with torch.autocast("cuda"):
        hidden = first @ first.t()
        distance = nn.functional.pairwise_distance(hidden, hidden.detach())
    distance.sum().backward()
    assert distance.dtype is torch.float32 and first.grad is not None
