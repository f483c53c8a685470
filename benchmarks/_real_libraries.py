"""Libraries around models, for `real_packages.py`: trainers, adapters, schedulers, loaders of graphs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def _gpt2() -> Any:
    import transformers

    return transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=100, n_embd=32, n_layer=2, n_head=2, n_positions=32, bos_token_id=1, eos_token_id=2))


def _trainer(**options: Any) -> Any:
    import transformers

    data = [{"input_ids": row, "labels": row} for row in torch.randint(3, 100, (16, 16))]
    arguments = transformers.TrainingArguments(
        tempfile.mkdtemp(), per_device_train_batch_size=4, report_to=[], disable_tqdm=True,
        **{"max_steps": 2, "save_strategy": "no", **options})
    return transformers.Trainer(_gpt2(), arguments, train_dataset=data, eval_dataset=data)


def trainer_float32() -> None:
    _trainer().train()


def trainer_float16_with_checkpointing() -> None:
    _trainer(fp16=True, gradient_checkpointing=True, gradient_accumulation_steps=2).train()


def trainer_bfloat16_with_evaluation() -> None:
    _trainer(bf16=True, eval_strategy="steps", eval_steps=1).train()


def trainer_resumed() -> None:
    first = _trainer(save_strategy="steps", save_steps=1)
    first.train()
    second = _trainer(max_steps=3)
    second.train(resume_from_checkpoint=f"{first.args.output_dir}/checkpoint-2")


def generation() -> None:
    model = _gpt2().cuda().eval()
    for way in ({}, {"do_sample": True, "top_k": 5}, {"num_beams": 2}):
        model.generate(torch.randint(3, 100, (2, 5)).cuda(), max_new_tokens=4, pad_token_id=0, **way)


def low_rank_adapters() -> None:
    import peft

    settings = peft.LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True)
    model = peft.get_peft_model(_gpt2(), settings).cuda()
    tokens = torch.randint(3, 100, (2, 16)).cuda()
    model(input_ids=tokens, labels=tokens).loss.backward()
    torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad]).step()


def _loader() -> torch.utils.data.DataLoader[Any]:
    data = torch.utils.data.TensorDataset(torch.randn(16, 8), torch.zeros(16, dtype=torch.int64))
    return torch.utils.data.DataLoader(data, 4, shuffle=True)


def accelerator() -> None:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)  # the trainers of this process have set another precision
    accelerator = Accelerator(mixed_precision="bf16", gradient_accumulation_steps=2)
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
    model, optimizer, loader = accelerator.prepare(model, torch.optim.AdamW(model.parameters()), _loader())
    for inputs, classes in loader:
        with accelerator.accumulate(model):
            accelerator.backward(functional.cross_entropy(model(inputs), classes))
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()


def diffusion() -> None:
    import diffusers

    model = diffusers.UNet2DModel(
        sample_size=16, block_out_channels=(32, 64), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), norm_num_groups=8).cuda()
    schedule = diffusers.DDPMScheduler(100)
    clean, noise = torch.randn(2, 3, 16, 16).cuda(), torch.randn(2, 3, 16, 16).cuda()
    steps = torch.randint(0, 100, (2,)).cuda()
    functional.mse_loss(model(schedule.add_noise(clean, noise, steps), steps).sample, noise).backward()
    diffusers.DDPMPipeline(model, schedule).to("cuda")(batch_size=1, num_inference_steps=2, output_type="np")


def graphs() -> None:
    from torch_geometric import nn as layers
    from torch_geometric.data import Data

    data = Data(x=torch.randn(20, 8), edge_index=torch.randint(0, 20, (2, 60)), y=torch.randint(0, 3, (20,))).to("cuda")
    for name in ("GCNConv", "GATConv", "SAGEConv", "GATv2Conv", "TransformerConv", "ChebConv", "ARMAConv"):
        options = {"K": 2} if name == "ChebConv" else {}
        layer = getattr(layers, name)(8, 8, **options).cuda()
        functional.cross_entropy(layer(data.x, data.edge_index), data.y).backward()


def lightning_module() -> None:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 2)

        def training_step(self, batch: Any, index: int) -> torch.Tensor:
            return functional.cross_entropy(self.layer(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters())

    for options in ({}, {"precision": "16-mixed"}, {"precision": "bf16-mixed", "accumulate_grad_batches": 2}):
        lightning.Trainer(
            max_epochs=1, accelerator="gpu", devices=1, logger=False, enable_progress_bar=False,
            enable_checkpointing=False, enable_model_summary=False, default_root_dir=tempfile.mkdtemp(), **options,
        ).fit(Module(), _loader())


LIBRARIES: dict[str, Callable[[], None]] = {
    function.__name__: function for function in (
        trainer_float32, trainer_float16_with_checkpointing, trainer_bfloat16_with_evaluation, trainer_resumed,
        generation, low_rank_adapters, accelerator, diffusion, graphs, lightning_module)
}
