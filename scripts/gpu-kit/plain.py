"""A plain training loop in torch, independent of Penstock's: one process, no sharding, batches from memory.

`python plain.py OPTIONS`, a JSON object; prints a line of JSON with the loss of every step and the time of every tenth.
"""

import ctypes
import json
import struct
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Layer(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
        self.self_attn, self.mlp = nn.Module(), nn.Module()
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self.self_attn, name, nn.Linear(width, width, bias=False))
        self.mlp.gate_proj, self.mlp.up_proj = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.mlp.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x, cos, sin):
        attention, normal = self.self_attn, self.input_layernorm(x)
        query, key, value = (
            linear(normal).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for linear in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        query, key = (rotated(each, cos, sin).to(value.dtype) for each in (query, key))
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + attention.o_proj(attended.transpose(1, 2).flatten(2))
        normal = self.post_attention_layernorm(x)
        return x + self.mlp.down_proj(F.silu(self.mlp.gate_proj(normal)) * self.mlp.up_proj(normal))


def rotated(heads, cos, sin):
    first, second = heads.float().chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


class Llama(nn.Module):
    def __init__(self, vocab_size, sequence_length, layers, heads, width, ffn_width):
        super().__init__()
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(vocab_size, width)
        self.model.layers = nn.ModuleList(Layer(width, heads, ffn_width) for _ in range(layers))
        self.model.norm = nn.RMSNorm(width, eps=1e-5)
        self.lm_head = nn.Linear(width, vocab_size, bias=False)
        half = width // heads // 2
        angles = torch.outer(torch.arange(sequence_length).double(), 10_000.0 ** (-torch.arange(half).double() / half))
        self.register_buffer("cos", angles.cos().float(), persistent=False)
        self.register_buffer("sin", angles.sin().float(), persistent=False)

    def forward(self, ids):
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, self.cos, self.sin)
        return self.lm_head(self.model.norm(x))


def initialize(model, seed):
    torch.manual_seed(seed)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.02)


def write_weights(model, path):
    """As a safetensors file in float32."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    header, end = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end + 4 * tensor.numel()]}
        end += 4 * tensor.numel()
    encoded = json.dumps(header).encode()
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(encoded)) + encoded)
        for tensor in tensors.values():
            # Works without NumPy.
            out.write((ctypes.c_uint8 * (4 * tensor.numel())).from_address(tensor.data_ptr()))


def main():
    options = json.loads(sys.argv[1])
    device = torch.device(options["device"])
    shape = options["model"]
    torch.set_float32_matmul_precision("high")
    model = Llama(**shape)
    initialize(model, 1)
    if "weights" in options:
        write_weights(model, options["weights"])
    model.to(device)
    if options["compile"]:
        for layer in model.model.layers:
            layer.compile()
    half = torch.autocast(device.type, torch.bfloat16, enabled=options["bf16"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True)
    columns, rows = shape["sequence_length"], options["rows"]
    with open(options["tokens"], "rb") as source:
        tokens = torch.frombuffer(bytearray(source.read()), dtype=torch.int32).long()
    losses, ends = [], [time.perf_counter()]
    for step in range(options["steps"]):
        first = step * rows * columns % max(1, len(tokens) - rows * columns)
        here = tokens[first : first + rows * columns + 1].to(device, non_blocking=True)
        inputs, targets = here[:-1].view(rows, columns), here[1:].view(rows, columns)
        with half:
            logits = model(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        if step % 10 == 9:
            loss.item()
            ends.append(time.perf_counter())
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
    print(json.dumps({"losses": [loss.item() for loss in losses], "ends": ends, "peak": peak}))


if __name__ == "__main__":
    main()
