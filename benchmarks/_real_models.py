"""Models of timm, torchvision and transformers for `real_packages.py`, built from scratch and small."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

sys.path.append(str(Path(__file__).parents[1] / "tests" / "virtual"))

from torchvision_operators import import_torchvision  # noqa: E402  # beside the tests

Step = Callable[[], None]
SMALLEST = (
    "test_", "atto", "femto", "pico", "nano", "xxs", "xxtiny", "xtiny", "tiny", "_xs", "x_small", "small", "_s", "18",
    "t0", "b0", "_0", "base")


def train(model: nn.Module, loss_of: Callable[[], torch.Tensor], precision: torch.dtype | None) -> None:
    """One step of AdamW, and the forward of an evaluation."""
    optimizer = torch.optim.AdamW(model.parameters())
    with torch.autocast("cuda", precision or torch.float16, enabled=precision is not None):
        loss = loss_of()
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.inference_mode():
        loss_of()


def timm_families() -> Iterator[tuple[str, Step]]:
    """The model of each module that its name says is smallest."""
    import_torchvision()
    import timm

    by_module: dict[str, list[str]] = {}
    for name in timm.list_models():
        by_module.setdefault(timm.models.model_entrypoint(name).__module__, []).append(name)
    for names in by_module.values():
        name = min(names, key=_size)
        yield f"timm.{name}", functools.partial(_timm_step, timm.create_model, name)


def _size(name: str) -> tuple[int, int, str]:
    rank = next((position for position, mark in enumerate(SMALLEST) if mark in name), len(SMALLEST))
    return rank, len(name), name


def _timm_step(create_model: Any, name: str) -> None:
    for precision in (None, torch.bfloat16):
        with torch.device("cuda"):
            model = create_model(name, num_classes=10)
        pictures = torch.randn(2, *model.default_cfg["input_size"]).cuda()
        if precision is not None:
            model, pictures = (one.to(memory_format=torch.channels_last) for one in (model, pictures))

        def loss_of() -> torch.Tensor:
            out = model(pictures)
            out = out[0] if isinstance(out, (tuple, list)) else out
            return out.float().square().mean()

        train(model, loss_of, precision)


CLASSIFIERS = (
    "alexnet", "vgg11_bn", "squeezenet1_0", "densenet121", "shufflenet_v2_x0_5", "mnasnet0_5", "resnext50_32x4d",
    "regnet_y_400mf", "efficientnet_b0", "convnext_tiny", "swin_v2_t", "maxvit_t", "vit_b_32", "mobilenet_v2")
SEGMENTERS = ("fcn_resnet50", "deeplabv3_resnet50", "lraspp_mobilenet_v3_large")
DETECTORS = (
    "fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn", "fcos_resnet50_fpn", "ssd300_vgg16",
    "ssdlite320_mobilenet_v3_large", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn")


def torchvision_families() -> Iterator[tuple[str, Step]]:
    models = import_torchvision().models
    for names, make, step in (
        (CLASSIFIERS, models, _classifier_step), (SEGMENTERS, models.segmentation, _segmenter_step),
        (DETECTORS, models.detection, _detector_step),
    ):
        for name in names:
            yield f"torchvision.{name}", functools.partial(step, getattr(make, name))


def _made(make: Any, **options: Any) -> nn.Module:
    """On the card at once: the host need not draw its weights."""
    with torch.device("cuda"):
        model: nn.Module = make(weights=None, **options)
    return model


def _classifier_step(make: Any) -> None:
    model = _made(make, num_classes=5)
    pictures, classes = torch.randn(2, 3, 224, 224).cuda(), torch.tensor([1, 2]).cuda()
    train(model, lambda: functional.cross_entropy(model(pictures), classes), torch.float16)


def _segmenter_step(make: Any) -> None:
    model = _made(make, weights_backbone=None, num_classes=5)
    pictures, classes = torch.randn(2, 3, 96, 96).cuda(), torch.randint(0, 5, (2, 96, 96)).cuda()
    train(model, lambda: functional.cross_entropy(model(pictures)["out"], classes), torch.float16)


def _detector_step(make: Any) -> None:
    is_keypoints = "keypoint" in make.__name__
    sizes = {} if "ssd" in make.__name__ else {"min_size": 128, "max_size": 128}
    model = _made(make, weights_backbone=None, num_classes=2 if is_keypoints else 3, **sizes)
    pictures = [torch.rand(3, 128, 128).cuda() for _ in range(2)]
    targets = [{
        "boxes": torch.tensor([[1.0, 1.0, 50.0, 60.0]]).cuda(), "labels": torch.tensor([1]).cuda(),
        "masks": torch.zeros(1, 128, 128, dtype=torch.uint8).cuda(), "keypoints": torch.ones(1, 17, 3).cuda(),
    } for _ in range(2)]

    def loss_of() -> torch.Tensor:
        found = model(pictures, targets) if model.training else {}
        if not model.training:
            model(pictures)
        return sum(found.values(), torch.zeros(()).cuda())

    train(model, loss_of, None)


def _tokens(count: int = 16) -> torch.Tensor:
    return torch.randint(3, 90, (2, count)).cuda()


def _text() -> dict[str, Any]:
    tokens = _tokens()
    return {"input_ids": tokens, "labels": tokens}


def _pictures() -> dict[str, Any]:
    return {"pixel_values": torch.randn(2, 3, 64, 64).cuda(), "labels": torch.tensor([0, 1]).cuda()}


def _sound() -> dict[str, Any]:
    return {"input_values": torch.randn(2, 2000).cuda(), "labels": torch.randint(1, 30, (2, 5)).cuda()}


def _spectrum() -> dict[str, Any]:
    return {"input_features": torch.randn(2, 80, 100).cuda(), "labels": _tokens(8)}


def _both() -> dict[str, Any]:
    return {"input_ids": _tokens(), "pixel_values": torch.randn(2, 3, 64, 64).cuda(), "return_loss": True}


WIDE = {
    "vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GROUPED = {**WIDE, "num_key_value_heads": 2}
MIXED = {**GROUPED, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
GPT = {"vocab_size": 100, "n_embd": 64, "n_layer": 2, "n_head": 4, "bos_token_id": 1, "eos_token_id": 2}
T5 = {"vocab_size": 100, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4,
      "decoder_start_token_id": 0}
TWO_SIDES = {
    "vocab_size": 100, "d_model": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 1,
    **{f"{side}_{what}": value for side in ("encoder", "decoder")
       for what, value in (("layers", 1), ("attention_heads", 4), ("ffn_dim", 128))}}
VISION = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
          "image_size": 64, "patch_size": 16}
STAGES = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
WAVES = {"vocab_size": 30, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "intermediate_size": 128, "conv_dim": [32] * 3, "conv_kernel": [10, 3, 3], "conv_stride": [5, 2, 2],
         "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
STATES = {"vocab_size": 100, "hidden_size": 64, "num_hidden_layers": 2, "state_size": 8}

TRANSFORMERS: dict[str, tuple[str, dict[str, Any], Callable[[], dict[str, Any]]]] = {
    **{f"{name}ForMaskedLM": (f"{name}Config", WIDE, _text) for name in (
        "Bert", "Roberta", "Albert", "Electra", "MPNet", "ModernBert", "ConvBert", "BigBird")},
    "DebertaV2ForMaskedLM": (
        "DebertaV2Config", {**WIDE, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]}, _text),
    "LongformerForMaskedLM": ("LongformerConfig", {**WIDE, "attention_window": 8}, _text),
    **{f"{name}ForCausalLM": (f"{name}Config", GROUPED, _text) for name in (
        "Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Gemma2", "Phi3", "Olmo2", "Cohere", "Granite")},
    **{f"{name}ForCausalLM": (f"{name}Config", MIXED, _text) for name in ("Mixtral", "Qwen2Moe", "Qwen3Moe", "Olmoe")},
    **{f"{name}ForCausalLM": (f"{name}Config", WIDE, _text) for name in ("GPTNeoX", "Phi", "Falcon")},
    **{name: (config, GPT, _text) for name, config in (
        ("GPT2LMHeadModel", "GPT2Config"), ("GPTBigCodeForCausalLM", "GPTBigCodeConfig"))},
    "OPTForCausalLM": ("OPTConfig", {**WIDE, "ffn_dim": 128, "word_embed_proj_dim": 64}, _text),
    "MambaForCausalLM": ("MambaConfig", STATES, _text),
    "Mamba2ForCausalLM": (
        "Mamba2Config", {**STATES, "num_heads": 8, "head_dim": 16, "n_groups": 1, "chunk_size": 8}, _text),
    "XLNetLMHeadModel": ("XLNetConfig", {"vocab_size": 100, "d_model": 64, "n_layer": 2, "n_head": 4}, _text),
    "T5ForConditionalGeneration": ("T5Config", T5, _text),
    "SwitchTransformersForConditionalGeneration": ("SwitchTransformersConfig", {**T5, "num_experts": 4}, _text),
    **{f"{name}ForConditionalGeneration": (f"{name}Config", TWO_SIDES, _text) for name in ("Bart", "MBart", "Pegasus")},
    "WhisperForConditionalGeneration": ("WhisperConfig", {**TWO_SIDES, "max_source_positions": 50}, _spectrum),
    **{f"{name}ForCTC": (f"{name}Config", WAVES, _sound) for name in ("Wav2Vec2", "Hubert", "WavLM")},
    **{f"{name}ForImageClassification": (f"{name}Config", VISION, _pictures) for name in ("ViT", "DeiT", "Dinov2")},
    **{f"{name}ForImageClassification": (f"{name}Config", STAGES, _pictures) for name in (
        "ConvNext", "ConvNextV2", "PoolFormer")},
    "SwinForImageClassification": ("SwinConfig", {
        "image_size": 64, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4}, _pictures),
    "CLIPModel": ("CLIPConfig", {"text_config": WIDE, "vision_config": VISION}, _both),
    "SiglipModel": ("SiglipConfig", {"text_config": WIDE, "vision_config": VISION}, _both),
}
"""By model: its configuration, and a batch."""


def transformers_families() -> Iterator[tuple[str, Step]]:
    for name in TRANSFORMERS:
        yield f"transformers.{name}", functools.partial(_transformers_step, name)


def _transformers_step(name: str) -> None:
    import_torchvision()
    import transformers

    config, settings, batch_of = TRANSFORMERS[name]
    model = getattr(transformers, name)(getattr(transformers, config)(**settings)).cuda().train()
    batch = batch_of()
    train(model, lambda: model(**batch).loss, torch.bfloat16)
