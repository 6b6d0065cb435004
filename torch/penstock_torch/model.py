"""The GPT of src/training/tfjs/model.ts in torch: same structure, names and results.

Parameters have the names of src/training/weights.ts, so that both engines can load the same safetensors file.
"""

from types import SimpleNamespace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from .decoding import KeyValueCache
from .documents import Documents, varlen_attn
from .loss import linear_loss_sum, loss_sum


class Context(NamedTuple):
    """Inputs common to all layers; `mask` and `offsets` are those of `Documents`."""

    # Cosines and sines, [columns, 1, head width / 2], or [rows, columns, 1, head width / 2] if rows have their own positions.
    rotary: tuple[Tensor, Tensor] | None
    mask: Tensor | None
    offsets: Tensor | None
    # Of earlier tokens of the row, in inference.
    cache: KeyValueCache | None


class Gpt(nn.Module):
    def __init__(self, options: SimpleNamespace, activation_checkpointing: bool | str = False, every: int = 1):
        """`activation_checkpointing` applies to every `every`-th layer: True recomputes all of it in the backward pass,
        "selective" all but products and attention."""
        super().__init__()
        self.options = options
        self.model = Trunk(options, activation_checkpointing, every)
        if not options.tie_weights:
            self.lm_head = Head(options.width, options.vocab_size, bias=False)

    def forward(self, ids: Tensor, targets: Tensor | None = None, weights: Tensor | None = None,
                documents: Documents | None = None, cache: KeyValueCache | None = None) -> Tensor:
        """ids [rows, columns] -> logits [rows, columns, vocab_size], or with targets the loss summed over them."""
        state = self.model(ids, documents or Documents(None, None, None), cache)
        if self.options.tie_weights:
            return output(state, self.model.embed_tokens.weight, targets, weights)
        # By name, because tensor parallelism passes only the first of the other arguments on.
        return self.lm_head(state, targets=targets, weights=weights)


class Head(nn.Linear):
    def forward(self, state: Tensor, targets: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        return output(state, self.weight, targets, weights)


def output(state: Tensor, weight: Tensor, targets: Tensor | None, weights: Tensor | None) -> Tensor:
    """Logits, which the parallel plan redistributes under tensor parallelism, or with targets the loss."""
    if targets is None:
        return F.linear(state, weight)
    if state.device.type == "cuda" or isinstance(weight, DTensor):
        return linear_loss_sum(state, weight, targets, weights)
    return loss_sum(F.linear(state, weight), targets, weights)


class Trunk(nn.Module):
    def __init__(self, options: SimpleNamespace, activation_checkpointing: bool | str, every: int):
        super().__init__()
        self.embed_tokens = nn.Embedding(options.vocab_size, options.width)
        if options.position == "learned":
            self.embed_positions = nn.Embedding(options.sequence_length, options.width)
        self.layers = nn.ModuleList(
            Layer(options, number % every == 0 and activation_checkpointing) for number in range(options.layers)
        )
        self.norm = norm(options)
        self.options = options
        self._angles: tuple[Tensor, Tensor] | None = None

    def forward(self, ids: Tensor, documents: Documents, cache: KeyValueCache | None = None) -> Tensor:
        state = self.embed_tokens(ids)
        if self.options.position == "learned":
            columns = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
            state = state + self.embed_positions(columns if documents.positions is None else documents.positions)
        rotary = self._rotary(ids, documents.positions) if self.options.position == "rotary" else None
        context = Context(rotary, documents.mask, documents.offsets, cache)
        for layer in self.layers:
            state = layer(state, context)
        return self.norm(state)

    def _rotary(self, ids: Tensor, positions: Tensor | None) -> tuple[Tensor, Tensor]:
        used = slice(ids.shape[1]) if positions is None else positions
        cos, sin = self._tables(ids.device)
        return cos[used].unsqueeze(-2), sin[used].unsqueeze(-2)

    def _tables(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosines and sines [sequence_length, head width / 2], computed once; buffers would be lost on the meta device."""
        if self._angles is None:
            head_width = self.options.head_dim
            exponents = torch.arange(0, head_width, 2, dtype=torch.float64) * (-1.0 / head_width)
            positions = torch.arange(self.options.sequence_length, dtype=torch.float64)
            angles = torch.outer(positions, self.options.rotary_base**exponents)
            self._angles = (angles.cos().float().to(device), angles.sin().float().to(device))
        return self._angles


def _stored_operators() -> list:
    """Operators that take longer to repeat than to store: products, attention, and reductions over the ranks."""
    aten = torch.ops.aten
    found = [
        aten.mm, aten.addmm, aten._scaled_dot_product_flash_attention, aten._scaled_dot_product_flash_attention_for_cpu,
        aten._scaled_dot_product_efficient_attention, aten._scaled_dot_product_cudnn_attention,
        torch.ops._c10d_functional.reduce_scatter_tensor,
    ]
    return [operator.default for operator in found] + ([] if varlen_attn is None else [torch.ops.torch_attn._varlen_attn.default])


def _store_products():
    return create_selective_checkpoint_contexts(_stored_operators())


class Layer(nn.Module):
    def __init__(self, options: SimpleNamespace, activation_checkpointing: bool | str):
        super().__init__()
        self.input_layernorm = norm(options)
        self.self_attn = Attention(options)
        self.post_attention_layernorm = norm(options)
        self.mlp = SwigluUnit(options) if options.activation == "swiglu" else GeluUnit(options)
        self._checkpointed = bool(activation_checkpointing)
        self._more = {"context_fn": _store_products} if activation_checkpointing == "selective" else {}

    def forward(self, state: Tensor, context: Context) -> Tensor:
        if self._checkpointed and torch.is_grad_enabled():
            return checkpoint(self._transform, state, context, use_reentrant=False, **self._more)
        return self._transform(state, context)

    def _transform(self, state: Tensor, context: Context) -> Tensor:
        state = state + self.self_attn(self.input_layernorm(state), context)
        return state + self.mlp(self.post_attention_layernorm(state))


class Attention(nn.Module):
    """Causal, within documents; consecutive groups of query heads share a key and value head."""

    def __init__(self, options: SimpleNamespace):
        super().__init__()
        self.head_width = options.head_dim
        query_width, key_width = self.head_width * options.heads, self.head_width * options.kv_heads
        self.grouped = options.kv_heads != options.heads
        self.q_proj = nn.Linear(options.width, query_width, bias=options.bias)
        self.k_proj = nn.Linear(options.width, key_width, bias=options.bias)
        self.v_proj = nn.Linear(options.width, key_width, bias=options.bias)
        self.o_proj = nn.Linear(query_width, options.width, bias=options.bias)
        if options.qk_norm:
            self.q_norm = RmsNorm(self.head_width, options.norm_eps, bias=False)
            self.k_norm = RmsNorm(self.head_width, options.norm_eps, bias=False)
        self._normalizes = options.qk_norm

    def forward(self, state: Tensor, context: Context) -> Tensor:
        query, key, value = (self._heads(linear(state)) for linear in (self.q_proj, self.k_proj, self.v_proj))
        if self._normalizes:
            query, key = self.q_norm(query), self.k_norm(key)
        if context.rotary is not None:
            query, key = rotate(query, *context.rotary), rotate(key, *context.rotary)
        if context.cache is not None:
            key, value = context.cache.extend(self, key, value)
        return self.o_proj(self._attend(query, key, value, context).flatten(2))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> Tensor:
        """[rows, columns, heads, head width] each and as the result. Heads are transposed as views, because kernels write
        their result in the order of the query: in this order it needs no copy."""
        if context.offsets is None:
            attended = F.scaled_dot_product_attention(
                *(heads.transpose(1, 2) for heads in (query, key, value)),
                # A single query, after cached tokens, attends to all of them.
                attn_mask=context.mask, is_causal=context.mask is None and query.shape[1] > 1, enable_gqa=self.grouped,
            )
            return attended.transpose(1, 2)
        columns = query.shape[1]
        flat = (heads.flatten(0, 1) for heads in (query, key, value))
        attended = varlen_attn(
            *flat, context.offsets, context.offsets, columns, columns, window_size=(-1, 0), enable_gqa=self.grouped
        )
        return attended.unflatten(0, (-1, columns))

    def _heads(self, flat: Tensor) -> Tensor:
        """[rows, columns, width] -> [rows, columns, heads, head width]"""
        return flat.unflatten(2, (-1, self.head_width))


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Applies rotary positions: rotates the two halves of each head as pairs."""
    first, second = heads.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(heads.dtype)


class GeluUnit(nn.Module):
    def __init__(self, options: SimpleNamespace):
        super().__init__()
        self.up_proj = nn.Linear(options.width, options.ffn_width, bias=options.bias)
        self.down_proj = nn.Linear(options.ffn_width, options.width, bias=options.bias)

    def forward(self, state: Tensor) -> Tensor:
        return self.down_proj(F.gelu(self.up_proj(state)))


class SwigluUnit(GeluUnit):
    def __init__(self, options: SimpleNamespace):
        super().__init__(options)
        self.gate_proj = nn.Linear(options.width, options.ffn_width, bias=options.bias)

    def forward(self, state: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(state)) * self.up_proj(state))


class RmsNorm(nn.Module):
    """RMSNorm with an optional bias, which torch's lacks."""

    def __init__(self, width: int, eps: float, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        self.eps = eps

    def forward(self, state: Tensor) -> Tensor:
        normal = F.rms_norm(state, self.weight.shape, self.weight, self.eps)
        return normal if self.bias is None else normal + self.bias


def norm(options: SimpleNamespace) -> nn.Module:
    if options.norm == "rms":
        return RmsNorm(options.width, options.norm_eps, options.bias)
    return nn.LayerNorm(options.width, eps=options.norm_eps, bias=options.bias)
