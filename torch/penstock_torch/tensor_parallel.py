"""Tensor parallelism: splits the matrices of each layer over the ranks of a group, as Modalities' `gpt2_tp` does.

Between the products each rank keeps its part of the columns (sequence parallelism): norms and residual sums are computed
once, and the all-gather and reduce-scatter cost no more than an all-reduce of whole activations would.
"""

from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel, ParallelStyle, PrepareModuleInput, PrepareModuleOutput, RowwiseParallel, SequenceParallel,
    parallelize_module,
)

from .model import Gpt, Layer

_COLUMNS = Shard(1)


def split_layers(model: Gpt, mesh: DeviceMesh):
    """Columns, heads, inner width and vocabulary must be divisible by the group's size; Node checks that."""
    for layer in model.model.layers:
        parallelize_module(layer, mesh, _layer_plan(layer))
    plan: dict[str, ParallelStyle] = {
        "model.embed_tokens": RowwiseParallel(input_layouts=Replicate(), output_layouts=_COLUMNS),
        "model.norm": SequenceParallel(),
    }
    if model.options.position == "learned":
        plan["model.embed_positions"] = RowwiseParallel(input_layouts=Replicate(), output_layouts=_COLUMNS)
    if model.options.tie_weights:
        # Each rank computes the logits of its rows of the embedding.
        plan["model"] = PrepareModuleOutput(
            output_layouts=_COLUMNS, desired_output_layouts=Replicate(), use_local_output=False
        )
        plan[""] = PrepareModuleOutput(output_layouts=Shard(-1), desired_output_layouts=Replicate())
    else:
        plan["lm_head"] = ColwiseParallel(input_layouts=_COLUMNS, output_layouts=Replicate())
    parallelize_module(model, mesh, plan)


def _layer_plan(layer: Layer) -> dict[str, ParallelStyle]:
    """Attention and MLP get all columns and split the width; between them each rank has its columns and the full width."""
    into = {name: ColwiseParallel() for name in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.up_proj")}
    if hasattr(layer.mlp, "gate_proj"):
        into["mlp.gate_proj"] = ColwiseParallel()
    if hasattr(layer.self_attn, "q_norm"):
        # Each rank normalizes its heads, the third dimension; the gradients of the weight are summed over the ranks.
        for name in ("self_attn.q_norm", "self_attn.k_norm"):
            into[name] = SequenceParallel(sequence_dim=2, use_local_output=True)
    return {
        "input_layernorm": SequenceParallel(),
        # Rotary angles and masks are not distributed.
        "self_attn": PrepareModuleInput(input_layouts=(_COLUMNS, None), desired_input_layouts=(Replicate(), None)),
        "post_attention_layernorm": SequenceParallel(),
        "mlp": PrepareModuleInput(input_layouts=_COLUMNS, desired_input_layouts=Replicate()),
        **into,
        "self_attn.o_proj": RowwiseParallel(output_layouts=_COLUMNS),
        "mlp.down_proj": RowwiseParallel(output_layouts=_COLUMNS),
    }
