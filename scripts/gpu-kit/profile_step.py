"""Profiles steps of Penstock's engine in one process: `python profile_step.py OPTIONS`, with penstock_torch on the path."""

import json
import os
import sys
import tempfile
import types

import torch
import torch.distributed as dist
from penstock_torch.engine import Engine, MicroBatch
from penstock_torch.model import Gpt
from torch.profiler import ProfilerActivity, profile

options = json.loads(sys.argv[1])
on_gpu = options["device"] == "cuda"
device = torch.device("cuda", 0) if on_gpu else torch.device("cpu")
os.environ.update(LOCAL_RANK="0", GROUP_WORLD_SIZE="1")
with tempfile.TemporaryDirectory() as folder:
    dist.init_process_group("nccl" if on_gpu else "gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
    shape = {
        **options["model"], "kv_heads": options["model"]["heads"],
        "head_dim": options["model"]["width"] // options["model"]["heads"], "position": "rotary", "rotary_base": 10000, "norm": "rms",
        "norm_eps": 1e-5, "activation": "swiglu", "bias": False, "tie_weights": False, "qk_norm": False,
    }
    with torch.device("meta"):
        weights = [[name, list(value.shape), True] for name, value in Gpt(types.SimpleNamespace(**shape)).named_parameters()]
    optimizer = {"learning_rate": 1e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "weight_decay_groups_excluded": []}
    layout = {
        "mixed_precision": "auto", "compile": on_gpu, "activation_checkpointing": False, "checkpointed_layers_every": 1,
        "activation_memory_budget": None, "reduce_every": "micro_batch", "replicate_degree": 1, "shard_degree": None,
        "tensor_parallel": 1,
    }
    engine = Engine(shape, optimizer, 1.0, layout, weights, device)
    for parameter in engine.parameters.values():
        torch.nn.init.normal_(parameter.detach(), std=0.02)
    ids = torch.randint(0, shape["vocab_size"], (options["rows"], shape["sequence_length"]), device=device)
    step = lambda: engine.step([MicroBatch(ids, ids, None, None)], ids.numel(), 1e-3)
    for _ in range(3):
        step()
    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if on_gpu else [ProfilerActivity.CPU]
    with profile(activities=activities) as recorded:
        for _ in range(3):
            step()
        if on_gpu:
            torch.cuda.synchronize()
    time_of = lambda event: event.self_device_time_total if on_gpu else event.self_cpu_time_total
    events = sorted(recorded.key_averages(), key=time_of, reverse=True)
    total = sum(map(time_of, events))
    print(json.dumps({event.key[:80]: time_of(event) / total for event in events[:10]}))
    dist.destroy_process_group()
