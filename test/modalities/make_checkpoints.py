"""Writes checkpoints with Modalities' own classes, for import-checkpoint.test.ts.

torchrun --nproc-per-node 2 make_checkpoints.py jobs.json answers.json
A job is {"kind": "fsdp1" | "dcp", "model": options of gpt2, "folder", "excluded": groups without decay, "ids", "batch"}.
The model takes two steps and is saved; the answer has the paths of last_checkpoint_info.json, the logits for `ids` then,
and those after one more step on `batch`, [inputs, targets].
"""

import contextlib
import json
import sys
from pathlib import Path

with contextlib.redirect_stdout(sys.stderr):
    import torch
    import torch.distributed as dist
    from modalities.checkpointing.fsdp.fsdp_checkpoint_saving import DCPCheckpointSaving, FSDP1CheckpointSaving
    from modalities.checkpointing.stateful.app_state import AppState
    from modalities.models.gpt2.gpt2_model import GPT2LLM, GPT2LLMConfig
    from modalities.optimizers.optimizer_factory import OptimizerFactory
    from modalities.training.training_progress import TrainingProgress
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
    from torch.distributed.tensor import DTensor

LEARNING_RATE = 1e-3


def build(options, kind):
    config = GPT2LLMConfig(**options)
    model = GPT2LLM(**{name: getattr(config, name) for name in GPT2LLMConfig.model_fields if name != "use_meta_device"})
    for name, parameter in model.named_parameters():
        # All weights differ from their defaults, so that swapped weights are detected.
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    if kind == "fsdp1":
        return FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("dp_shard",))
    for block in model.transformer.h.values():
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def answer(job):
    model = build(job["model"], job["kind"])
    optimizer = OptimizerFactory.get_adam_w(
        lr=LEARNING_RATE, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, wrapped_model=model,
        weight_decay_groups_excluded=job["excluded"],
    )  # fmt: skip
    inputs, targets = torch.tensor(job["batch"])

    def logits(ids):
        return model({"input_ids": ids})["logits"]

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits(inputs).flatten(0, 1), targets.flatten()).backward()
        optimizer.step()

    def shown():
        with torch.no_grad():
            found = logits(torch.tensor([job["ids"]]))[0, -1]
        return (found.full_tensor() if isinstance(found, DTensor) else found).tolist()

    step()
    step()
    saving = {"fsdp1": FSDP1CheckpointSaving, "dcp": DCPCheckpointSaving}[job["kind"]]
    progress = TrainingProgress(
        num_seen_steps_current_run=2, num_seen_tokens_current_run=2 * inputs.numel(), num_target_steps=4,
        num_target_tokens=4 * inputs.numel(),
    )  # fmt: skip
    folder = Path(job["folder"])
    saving(folder, "run", dist.get_rank())._save_checkpoint(AppState(model, optimizer), progress)
    before = shown()
    step()
    return {"paths": json.loads((folder / "last_checkpoint_info.json").read_text()), "before": before, "after": shown()}


def main(jobs_path, answers_path):
    dist.init_process_group("gloo")
    with contextlib.redirect_stdout(sys.stderr):
        answers = [answer(job) for job in json.loads(Path(jobs_path).read_text())]
    if dist.get_rank() == 0:
        Path(answers_path).write_text(json.dumps(answers))
    dist.destroy_process_group()


main(*sys.argv[1:])
