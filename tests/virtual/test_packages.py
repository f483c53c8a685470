"""Models of installed packages train on the card, unmodified: two steps of mixed precision each, built from scratch."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision_operators import import_torchvision

from memdoctor.virtual.gpu import VirtualGPU, virtual_gpu

TIMM = (
    "resnet18", "efficientnet_b0", "mobilenetv3_small_100", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224",
    "convnext_atto", "mixer_s32_224", "densenet121", "levit_128s", "mobilevit_xxs", "xcit_nano_12_p16_224",
    "maxvit_tiny_rw_224", "halonet26t", "sequencer2d_s",
)
SMALL = {"vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
WIDE = {**SMALL, "intermediate_size": 128}
GROUPED = {**WIDE, "num_key_value_heads": 2}
HEADS = {f"{side}_{what}": value for side in ("encoder", "decoder")
         for what, value in (("layers", 1), ("attention_heads", 4), ("ffn_dim", 128))}
TRANSFORMERS = {
    "BertForMaskedLM": ("BertConfig", WIDE),
    "GPT2LMHeadModel": ("GPT2Config", {"vocab_size": 100, "n_embd": 64, "n_layer": 2, "n_head": 4}),
    "LlamaForCausalLM": ("LlamaConfig", GROUPED),
    "MambaForCausalLM": ("MambaConfig", {"vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 2}),
    "DebertaV2ForMaskedLM": ("DebertaV2Config", {**WIDE, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    "MixtralForCausalLM": ("MixtralConfig", {**GROUPED, "num_local_experts": 4}),
    "T5ForConditionalGeneration": ("T5Config", {
        "vocab_size": 100, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4,
        "decoder_start_token_id": 0}),
    "ViTForImageClassification": ("ViTConfig", {**WIDE, "image_size": 64, "patch_size": 16}),
    "WhisperForConditionalGeneration": ("WhisperConfig", {
        **HEADS, "vocab_size": 100, "d_model": 64, "max_source_positions": 50, "pad_token_id": 0, "bos_token_id": 1,
        "eos_token_id": 2, "decoder_start_token_id": 1}),
}


@pytest.fixture
def gpu():
    with virtual_gpu("a100-40gb") as card:
        yield card


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def package(name: str):
    """Both kinds of packages import torchvision where it is installed."""
    if importlib.util.find_spec("torchvision") is not None:
        import_torchvision()
    return pytest.importorskip(name, reason=f"needs {name}")


def train(model: nn.Module, loss_of) -> None:
    optimizer, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cuda")
    for _ in range(2):
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.float16):
            loss = loss_of()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert loss.is_cuda and all(weight.is_cuda for weight in model.parameters())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TIMM)
def test_timm(gpu: VirtualGPU, name: str) -> None:
    model = package("timm").create_model(name, num_classes=10)
    size = model.default_cfg["input_size"]
    model.cuda()
    train(model, lambda: functional.cross_entropy(
        model(torch.randn(2, *size, device="cuda")), torch.tensor([1, 2], device="cuda")))


def batch_for(name: str) -> dict[str, torch.Tensor]:
    tokens = torch.randint(0, 100, (2, 16))
    if name.startswith("ViT"):
        return {"pixel_values": torch.randn(2, 3, 64, 64), "labels": torch.tensor([0, 1])}
    if name.startswith("Whisper"):
        return {"input_features": torch.randn(2, 80, 100), "labels": tokens[:, :8]}
    if name.startswith("Mamba"):
        return {"input_ids": tokens, "labels": tokens}
    mask = torch.tensor([[1] * 16, [1] * 10 + [0] * 6])
    return {"input_ids": tokens, "attention_mask": mask, "labels": tokens}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(gpu: VirtualGPU, name: str) -> None:
    transformers = package("transformers")
    config, settings = TRANSFORMERS[name]
    model = getattr(transformers, name)(getattr(transformers, config)(**settings)).cuda()
    batch = {key: value.cuda() for key, value in batch_for(name).items()}
    train(model, lambda: model(**batch).loss)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", [{}, {"do_sample": True, "top_k": 5}, {"num_beams": 2}], ids=["best", "drawn", "beams"])
def test_generation_ends(gpu: VirtualGPU, way: dict) -> None:
    """Which beam is best, and how long it is, follows from values."""
    transformers = package("transformers")
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**GROUPED)).cuda().eval()
    out = model.generate(torch.randint(3, 100, (2, 5), device="cuda"), max_new_tokens=4, pad_token_id=0, **way)
    assert out.is_cuda and (out.shape == (2, 9) or "num_beams" in way)


@pytest.mark.filterwarnings("ignore")
def test_adapters_of_peft_train_alone(gpu: VirtualGPU) -> None:
    transformers, peft = package("transformers"), package("peft")
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**TRANSFORMERS["GPT2LMHeadModel"][1]))
    settings = peft.LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True)
    model = peft.get_peft_model(model, settings).cuda()
    batch = {key: value.cuda() for key, value in batch_for("GPT2").items()}
    train(model, lambda: model(**batch).loss)
    assert {weight.grad is None for name, weight in model.named_parameters() if "lora" not in name} == {True}


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_goes_on_where_it_was(gpu: VirtualGPU, tmp_path) -> None:
    transformers = package("transformers")
    pytest.importorskip("accelerate", reason="the trainer needs accelerate")
    data = [{"input_ids": row, "labels": row} for row in torch.randint(0, 100, (16, 16))]

    def trainer(steps: int):
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**TRANSFORMERS["GPT2LMHeadModel"][1]))
        arguments = transformers.TrainingArguments(
            str(tmp_path), max_steps=steps, per_device_train_batch_size=4, report_to=[], bf16=True, disable_tqdm=True,
            gradient_accumulation_steps=2, eval_strategy="steps", eval_steps=1, save_steps=2)
        return transformers.Trainer(model, arguments, train_dataset=data, eval_dataset=data)

    trainer(2).train()
    resumed = trainer(3)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 3


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_of_transformers(gpu: VirtualGPU, tmp_path) -> None:
    transformers = package("transformers")
    pytest.importorskip("accelerate", reason="the trainer needs accelerate")
    tokens = torch.randint(0, 100, (16, 16))
    data = [{"input_ids": row, "labels": row} for row in tokens]
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**TRANSFORMERS["GPT2LMHeadModel"][1]))
    arguments = transformers.TrainingArguments(
        str(tmp_path), max_steps=3, per_device_train_batch_size=4, report_to=[], fp16=True,
        gradient_checkpointing=True, save_strategy="no", disable_tqdm=True)
    transformers.Trainer(model, arguments, train_dataset=data).train()
    assert next(model.parameters()).is_cuda and gpu.max_allocated_bytes > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "swin_t", "vit_b_16", "efficientnet_v2_s"])
def test_torchvision(gpu: VirtualGPU, name: str) -> None:
    torchvision = package("torchvision")
    model = getattr(torchvision.models, name)(weights=None, num_classes=5).cuda()
    train(model, lambda: functional.cross_entropy(
        model(torch.randn(2, 3, 224, 224, device="cuda")), torch.tensor([1, 2], device="cuda")))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [
    "fasterrcnn_mobilenet_v3_large_320_fpn", "retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large",
    "maskrcnn_resnet50_fpn"])
def test_detectors_train_and_detect(gpu: VirtualGPU, name: str) -> None:
    detection = package("torchvision").models.detection
    sizes = {} if name.startswith("ssd") else {"min_size": 128, "max_size": 128}
    model = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=3, **sizes).cuda()
    pictures = [torch.rand(3, 128, 128, device="cuda") for _ in range(2)]
    targets = [{
        "boxes": torch.tensor([[1.0, 1.0, 50.0, 60.0]], device="cuda"),
        "labels": torch.tensor([1], device="cuda"),
        "masks": torch.zeros(1, 128, 128, dtype=torch.uint8, device="cuda"),
    } for _ in range(2)]
    train(model, lambda: sum(model(pictures, targets).values()))
    model.eval()
    with torch.no_grad():
        found = model(pictures)
    assert all(one["boxes"].is_cuda and one["boxes"].shape[1] == 4 for one in found)
    assert "nms" in {read.what for read in gpu.value_reads}


@pytest.fixture(scope="module")
def graph_layers():
    """Imported before the test begins: it leaves functions of its own in `torch`."""
    return package("torch_geometric").nn


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["GCNConv", "GATConv", "SAGEConv", "TransformerConv"])
def test_graph_networks(graph_layers, gpu: VirtualGPU, name: str) -> None:
    model = getattr(graph_layers, name)(8, 8).cuda()
    nodes, edges = torch.randn(20, 8, device="cuda"), torch.randint(0, 20, (2, 60), device="cuda")
    chosen = torch.rand(20, device="cuda") > 0.3
    train(model, lambda: functional.cross_entropy(
        model(nodes, edges)[chosen], torch.zeros(20, dtype=torch.int64, device="cuda")[chosen]))


@pytest.mark.filterwarnings("ignore")
def test_a_unet_of_diffusers(gpu: VirtualGPU) -> None:
    diffusers = package("diffusers")
    model = diffusers.UNet2DModel(
        sample_size=16, block_out_channels=(32, 64), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), norm_num_groups=8).cuda()
    noise = torch.randn(2, 3, 16, 16, device="cuda")
    train(model, lambda: functional.mse_loss(model(noise, torch.tensor([1, 2], device="cuda")).sample, noise))
