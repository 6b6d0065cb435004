"""Compares weights and logits of large models; prints JSON.

    compare.py bits CHECKPOINT BACK        number of weights that differ
    compare.py ours CHECKPOINT f32|bf16    logits of one row by torch/penstock_torch
    compare.py transformers FOLDER f32|bf16
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "torch"))

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
BLOCK = 1 << 15
INITIALIZED = 1 << 20
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


def weights_of(checkpoint: str) -> dict[str, torch.Tensor]:
    from penstock_torch.checkpoint import read_safetensors

    return read_safetensors(Path(checkpoint) / "model.safetensors")[0]


def options_of(checkpoint: str) -> dict:
    return json.loads((Path(checkpoint) / "state.json").read_text())["model"]


def compare_bits(checkpoint: str, back: str) -> dict:
    """Weights that were converted to bfloat16 and back with those before, and the first of each weight with torch's own."""
    from penstock_torch.initial_weights import normal

    options = options_of(checkpoint)
    before, after = weights_of(checkpoint), weights_of(back)
    counts = {"count": 0, "different": 0, "initialized": 0, "initial": 0}
    for name, weight in before.items():
        counts["count"] += weight.numel()
        flat, converted = weight.flatten(), after[name].flatten()
        residual = name.endswith(("o_proj.weight", "down_proj.weight"))
        std = 0.02 / (2 * options["layers"]) ** 0.5 if residual else 0.02
        for start in range(0, flat.numel(), BLOCK):
            here = flat[start : start + BLOCK]
            counts["different"] += int((here.bfloat16().float() != converted[start : start + BLOCK]).sum())
            if weight.dim() == 2 and start < INITIALIZED:
                initial = normal(torch.arange(start, start + here.numel()), options["seed"], name).mul_(std).float()
                counts["initialized"] += here.numel()
                counts["initial"] += int((initial != here).sum())
    return counts


@torch.no_grad()
def our_logits(checkpoint: str, dtype: torch.dtype) -> torch.Tensor:
    from penstock_torch.model import Gpt

    with torch.device("meta"):
        gpt = Gpt(SimpleNamespace(**options_of(checkpoint)))
    gpt.load_state_dict({name: weight.to(dtype) for name, weight in weights_of(checkpoint).items()}, assign=True)
    return gpt(IDS)[0, -1]


@torch.no_grad()
def logits_of_transformers(folder: str, dtype: torch.dtype) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)(IDS).logits[0, -1]


command, path, other = sys.argv[1:]
if command == "bits":
    print(json.dumps(compare_bits(path, other)))
else:
    logits = our_logits if command == "ours" else logits_of_transformers
    print(json.dumps(logits(path, DTYPES[other]).float().tolist()))
