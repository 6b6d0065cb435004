"""Computation of one rank: forward, backward, clipping, AdamW. Implements `Engine` of src/training/engine.ts."""

import math
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from .attention import AttentionShape, math_warning, prefer_fast_kernels
from .decoding import KeyValueCache
from .documents import Documents, documents_of, has_variable_length_kernel
from .faults import Fault
from .loss import loss_sum
from .model import Gpt
from .parallel import computes_in_half, copies_of, distribute, local_part, open_mesh


class MicroBatch(NamedTuple):
    # [rows, columns]
    inputs: Tensor
    targets: Tensor
    # Weight of each row's counted targets, if any.
    weights: Tensor | None
    documents: Documents | None


@dataclass(frozen=True)
class OptimizerOptions:
    """AdamW; the names and meanings of `optimizerSchema` in src/training/options.ts."""

    learning_rate: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    weight_decay_groups_excluded: list[str]


class Engine:
    def __init__(self, model: dict, optimizer: dict, gradient_clip: float | None, torch_options: dict,
                 weights: list, device: torch.device):
        """`weights`: [name, shape, decays] of every weight in Node's model."""
        self.device = device
        self.steps_taken = 0
        self._cache = KeyValueCache()
        self._clip = gradient_clip
        options = SimpleNamespace(**torch_options)
        self._half = computes_in_half(device, options)
        if device.type == "cuda":
            prefer_fast_kernels(device)
        mesh = open_mesh(device, options)
        self._tensor_degree = mesh["tensor"].size()
        # Number of ranks with different rows.
        self._data_degree = mesh.size() // self._tensor_degree
        self._options = SimpleNamespace(**model)
        with torch.device("meta"):
            gpt = Gpt(self._options, options.activation_checkpointing, options.checkpointed_layers_every)
        _require_same_weights(gpt, weights)
        self.model = distribute(gpt, device, options, mesh)
        self.parameters = dict(self.model.named_parameters())
        self._weights = weights
        self._optimizer_options = OptimizerOptions(**optimizer)
        # For the squares of a rank's gradients, so that `_sum_of_ranks` counts each gradient once.
        self._norm_factors = [self._tensor_degree / copies_of(parameter) for parameter in self.parameters.values()]
        # Reducing sharded gradients at every micro batch bounds memory; replicated ones need no more in any case.
        self._reduce_once = mesh["shard"].size() == 1 or options.reduce_every == "step"
        if options.activation_memory_budget is not None:
            torch._functorch.config.activation_memory_budget = options.activation_memory_budget

    @cached_property
    def optimizer(self) -> torch.optim.AdamW:
        """Created on first use: an engine that only evaluates or generates needs no memory for moments."""
        return self._open_optimizer()

    def _open_optimizer(self) -> torch.optim.AdamW:
        options = self._optimizer_options
        decaying = [self.parameters[name] for name, _, decays in self._weights if decays]
        others = [self.parameters[name] for name, _, decays in self._weights if not decays]
        groups = [
            {"params": decaying, "weight_decay": options.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=options.learning_rate, betas=tuple(options.betas), eps=options.eps, fused=True,
        )
        for parameter in self.parameters.values():
            optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=self.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return optimizer

    def step(self, batches: list[MicroBatch], counted: int, learning_rate: float, limits: dict | None = None) -> Tensor:
        """One update; returns [loss, gradient norm]. The loss is averaged over the `counted` targets of all ranks, or, with
        `counted` 1, summed over weighted rows. A step that is not within the limits leaves weights and moments unchanged."""
        self._cache.clear()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        # FSDP averages over the data-parallel ranks; multiplying by their number gives the sum over all targets.
        scale = self._data_degree / max(1, counted)
        total = torch.zeros((), dtype=torch.float32, device=self.device)
        for index, batch in enumerate(batches):
            if isinstance(self.model, FSDPModule):
                is_last = index == len(batches) - 1
                self.model.set_requires_gradient_sync(is_last or not self._reduce_once)
                # Replicas of shards add up their gradients once per step.
                self.model.set_requires_all_reduce(is_last)
            loss = self._loss(batch)
            (loss * scale).backward()
            total += loss.detach()
        loss, norm = self._sum_of_ranks(torch.stack((total, self._squared_norm()))).unbind()
        norm = norm.sqrt()
        self._clip_gradients(norm)
        figures = torch.stack((loss / max(1, counted), norm))
        # Reading the figures waits for the device, so only a run that may skip steps does. All ranks have the same ones.
        if limits is None or _is_within(figures, limits):
            self.optimizer.step()
            self.steps_taken += 1
        self.optimizer.zero_grad()
        return figures

    def attention_warning(self, has_documents: bool) -> str | None:
        """At rank 0, a warning if attention, masked with `has_documents`, has only a slow kernel on this GPU."""
        is_variable = has_documents and has_variable_length_kernel(self.device, self._half)
        if self.device.type != "cuda" or is_variable or dist.get_rank() != 0:
            return None
        heads, key_heads = (count // self._tensor_degree for count in (self._options.heads, self._options.kv_heads))
        dtype = torch.bfloat16 if self._half else torch.float32
        width, columns = self._options.head_dim, self._options.sequence_length
        return math_warning(AttentionShape(heads, key_heads, width, columns, dtype, has_documents), self.device)

    def weights_changed(self):
        """To be called after the weights were set from outside."""
        self._cache.clear()

    def documents_of(self, starts: Tensor, restart_positions: bool) -> Documents:
        return documents_of(starts, restart_positions, self.device, self._half)

    def _loss(self, batch: MicroBatch) -> Tensor:
        result = self.model(*batch)
        return result if result.dim() == 0 else loss_sum(result, batch.targets, batch.weights)

    def _sum_of_ranks(self, figures: Tensor) -> Tensor:
        """Sums over the data-parallel ranks; each rank of a tensor-parallel group has the figures of the whole group."""
        dist.all_reduce(figures)
        return figures / self._tensor_degree

    def _squared_norm(self) -> Tensor:
        """This rank's part of the gradients' squared norm: `_sum_of_ranks` gives every rank the same total, in the
        reduction of the loss."""
        norms = torch._foreach_norm(self._local_gradients())
        return torch.stack(torch._foreach_mul(torch._foreach_mul(norms, norms), self._norm_factors)).sum()

    def _clip_gradients(self, norm: Tensor):
        if self._clip is not None:
            torch._foreach_mul_(self._local_gradients(), (self._clip / (norm + 1e-6)).clamp(max=1.0))

    def _local_gradients(self) -> list[Tensor]:
        return [local_part(parameter.grad) for parameter in self.parameters.values()]

    @torch.no_grad()
    def evaluate(self, batches: list[MicroBatch]) -> Tensor:
        """Loss summed over the counted targets of all ranks, [1]."""
        total = torch.zeros(1, dtype=torch.float32, device=self.device)
        for batch in batches:
            total += self._loss(batch._replace(weights=None))
        return self._sum_of_ranks(total)

    @torch.no_grad()
    def logits(self, ids: Tensor) -> Tensor:
        """Logits [vocab_size] of the token after ids [1, columns]. Every rank takes part and gets the full result."""
        if self._tensor_degree == 1:
            known = self._cache.continue_with(ids)
            positions = torch.arange(known, ids.shape[1], device=ids.device).unsqueeze(0)
            documents = Documents(positions, None, None)
            return self.model(ids[:, known:], documents=documents, cache=self._cache)[0, -1].float()
        last = ids.shape[1] - 1
        # Padded to a multiple of the tensor-parallel degree; causal attention ignores the padding.
        ids = F.pad(ids, (0, -ids.shape[1] % self._tensor_degree))
        return self.model(ids)[0, last].float()


def _is_within(figures: Tensor, limits: dict) -> bool:
    """`isWithin` of src/training/engine.ts."""
    loss, norm = figures.tolist()
    return math.isfinite(loss + norm) and loss <= limits["loss"] and norm <= limits["gradientNorm"]


def _require_same_weights(gpt: Gpt, weights: list):
    own = {name: list(parameter.shape) for name, parameter in gpt.named_parameters()}
    expected = {name: shape for name, shape, _ in weights}
    different = sorted(name for name in own.keys() | expected.keys() if own.get(name) != expected.get(name))
    if different:
        raise Fault("INTERNAL", f"the models of Node and Python differ: {different}")
