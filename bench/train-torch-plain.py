"""Two hand-written training loops for comparison in `bench/train-torch.ts`. Self-contained on purpose.

plain    batches from a tensor in memory; one process or FSDP; reads the loss at every step
nanogpt  structured like nanoGPT's loop: random samples of a memory-mapped file, the next batch prepared after the
         forward pass; one process or DDP; reads the loss at every tenth step
Both use the same model, torch's AdamW and gradient clipping. Prints tokens/s of the fastest group of ten consecutive
steps, and the median of these groups.
"""

import json
import math
import os
import statistics
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

GROUP = 10


class Block(nn.Module):
    def __init__(self, width, heads, ffn_width):
        super().__init__()
        self.heads = heads
        self.before = nn.RMSNorm(width, eps=1e-5)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.between = nn.RMSNorm(width, eps=1e-5)
        self.gate = nn.Linear(width, ffn_width, bias=False)
        self.up = nn.Linear(width, ffn_width, bias=False)
        self.down = nn.Linear(ffn_width, width, bias=False)

    def forward(self, x, cos, sin):
        rows, columns, width = x.shape
        q, k, v = self.qkv(self.before(x)).view(rows, columns, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = (torch.cat((a * cos - b * sin, b * cos + a * sin), -1) for a, b in (q.chunk(2, -1), k.chunk(2, -1)))
        y = F.scaled_dot_product_attention(q, k, v.to(q.dtype), is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(rows, columns, width).to(x.dtype))
        z = self.between(x)
        return x + self.down(F.silu(self.gate(z)) * self.up(z))


class Gpt(nn.Module):
    def __init__(self, vocab_size, sequence_length, layers, heads, width, ffn_width):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, width)
        self.blocks = nn.ModuleList(Block(width, heads, ffn_width) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocab_size, bias=False)
        head_width = width // heads
        angles = torch.outer(
            torch.arange(sequence_length), 10000 ** (-torch.arange(0, head_width, 2) / head_width)
        )
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        return self.head(self.norm(x))


def main():
    options = json.loads(sys.argv[1])
    steps, rows, columns = options["steps"], options["rows"], options["model"]["sequence_length"]
    world = int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device(options["device"])
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
    model = Gpt(**options["model"]).to(device)
    if options["compile"]:
        for block in model.blocks:
            block.compile()
    half = torch.autocast(device.type, torch.bfloat16, enabled=options["bf16"])
    nanogpt = options["loop"] == "nanogpt"
    if world > 1:
        import torch.distributed as dist
        from torch.distributed.fsdp import fully_shard

        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        if nanogpt:
            model = nn.parallel.DistributedDataParallel(model)
        else:
            for block in model.blocks:
                fully_shard(block)
            fully_shard(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    next_batch = (mapped_batches if nanogpt else batches_in_memory)(options, rows // world, columns, device)
    ends = [time.perf_counter()]
    inputs, targets = next_batch()
    for step in range(steps):
        with half:
            loss = F.cross_entropy(model(inputs).flatten(0, 1).float(), targets.flatten())
        if nanogpt:
            inputs, targets = next_batch()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if not nanogpt:
            inputs, targets = next_batch()
        if not nanogpt or step % GROUP == GROUP - 1:
            loss.item()
            ends.append(time.perf_counter())
    if os.environ.get("RANK", "0") == "0":
        per_entry = GROUP if nanogpt else 1
        counted = ends[max(1, math.ceil(steps / 4 / per_entry)) :]
        span = GROUP // per_entry
        groups = [counted[i + span] - counted[i] for i in range(len(counted) - span)]
        tokens = rows * columns * GROUP
        speeds = {"tokensPerSecond": tokens / min(groups), "medianTokensPerSecond": tokens / statistics.median(groups)}
        print(json.dumps(speeds))


def batches_in_memory(options, rows, columns, device):
    data = torch.randint(0, options["model"]["vocab_size"], (rows * (columns + 1) * 8,))

    def next_batch():
        starts = torch.randint(0, len(data) - columns - 1, (rows,))
        inputs = torch.stack([data[i : i + columns] for i in starts]).to(device)
        return inputs, torch.stack([data[i + 1 : i + 1 + columns] for i in starts]).to(device)

    return next_batch


def mapped_batches(options, rows, columns, device):
    def next_batch():
        # Like nanoGPT, maps the file again for every batch to avoid a memory leak. The header is 12 bytes long.
        data = np.memmap(options["file"], dtype=np.uint16, mode="r", offset=12)
        starts = torch.randint(len(data) - columns - 1000, (rows,))
        pieces = [[torch.from_numpy(data[i + at : i + at + columns].astype(np.int64)) for i in starts] for at in (0, 1)]
        inputs, targets = (torch.stack(piece) for piece in pieces)
        if device.type == "cuda":
            inputs, targets = inputs.pin_memory(), targets.pin_memory()
        return inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)

    return next_batch


main()
