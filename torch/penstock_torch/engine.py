"""The arithmetic of one rank: forward, backward, clipping, AdamW. What `Engine` in src/training/engine.ts promises."""

from dataclasses import dataclass
from types import SimpleNamespace

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from .faults import Fault
from .loss import loss_sum
from .model import Gpt
from .parallel import lay_out, open_mesh

# Inputs, targets, and what a counted target of each row weighs, where they differ.
MicroBatch = tuple[Tensor, Tensor, Tensor | None]


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
        """`weights`: [name, shape, decays] of every weight, as Node knows them."""
        self.device = device
        self.steps_taken = 0
        self._clip = gradient_clip
        options = SimpleNamespace(**torch_options)
        mesh = open_mesh(device, options)
        self._tensor_degree = mesh["tensor"].size()
        # Ranks that see different rows.
        self._data_degree = mesh.size() // self._tensor_degree
        with torch.device("meta"):
            gpt = Gpt(SimpleNamespace(**model), options.activation_checkpointing)
        _require_same_weights(gpt, weights)
        self.model = lay_out(gpt, device, options, mesh)
        self.parameters = dict(self.model.named_parameters())
        self.optimizer = self._open_optimizer(weights, OptimizerOptions(**optimizer))
        # Sharded gradients are reduced at every micro batch, which bounds memory; whole ones once a step.
        self._reduce_once = mesh["shard"].size() == 1

    def _open_optimizer(self, weights: list, options: OptimizerOptions) -> torch.optim.AdamW:
        decaying = [self.parameters[name] for name, _, decays in weights if decays]
        others = [self.parameters[name] for name, _, decays in weights if not decays]
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

    def step(self, batches: list[MicroBatch], counted: int, learning_rate: float) -> Tensor:
        """One update from the gradient averaged over the `counted` targets of all ranks, or from weighted rows with `counted` 1: [loss, gradient norm]."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        # FSDP averages over ranks that see different rows; what is wanted is the sum over them, by targets.
        scale = self._data_degree / max(1, counted)
        total = torch.zeros((), dtype=torch.float32, device=self.device)
        for index, (inputs, targets, weights) in enumerate(batches):
            if self._reduce_once and isinstance(self.model, FSDPModule):
                self.model.set_requires_gradient_sync(index == len(batches) - 1)
            loss = loss_sum(self.model(inputs), targets, weights)
            (loss * scale).backward()
            total += loss.detach()
        norm = self._clip_gradients()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps_taken += 1
        return torch.stack((self._sum_of_ranks(total) / max(1, counted), norm))

    def _sum_of_ranks(self, figure: Tensor) -> Tensor:
        """The ranks of a tensor-parallel group each have the figure of the whole group."""
        dist.all_reduce(figure)
        return figure / self._tensor_degree

    def _clip_gradients(self) -> Tensor:
        limit = float("inf") if self._clip is None else self._clip
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), limit, foreach=True)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    @torch.no_grad()
    def evaluate(self, batches: list[MicroBatch]) -> Tensor:
        """Loss summed over the counted targets of all ranks, [1]."""
        total = torch.zeros(1, dtype=torch.float32, device=self.device)
        for inputs, targets, _ in batches:
            total += loss_sum(self.model(inputs), targets)
        return self._sum_of_ranks(total)

    @torch.no_grad()
    def logits(self, ids: Tensor) -> Tensor:
        """Of the token after ids [1, columns]: [vocab_size]. Every rank takes part and has the whole result."""
        last = ids.shape[1] - 1
        # Columns must divide evenly among the ranks of a tensor-parallel group; what stands behind the last changes nothing.
        ids = F.pad(ids, (0, -ids.shape[1] % self._tensor_degree))
        return self.model(ids)[0, last].float()


def _require_same_weights(gpt: Gpt, weights: list):
    own = {name: list(parameter.shape) for name, parameter in gpt.named_parameters()}
    told = {name: shape for name, shape, _ in weights}
    different = sorted(name for name in own.keys() | told.keys() if own.get(name) != told.get(name))
    if different:
        raise Fault("INTERNAL", f"Node and Python see different models: {different}")
