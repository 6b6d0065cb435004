"""Cross-entropy over the counted targets.

On a CPU the logits of a large vocabulary exceed the caches, and torch's function makes about eight passes over them. This
one processes a few rows at a time and writes the gradient over the logits: with a vocabulary of 50,304 it halves the time
after the output layer's product and needs one array of that size instead of three.

On a GPU the logits are what limits the batch. There the output layer's product is part of the loss and computed for some
rows at a time, with its gradients, so that all logits never exist at once. Under tensor parallelism, each rank does so with
its part of the vocabulary; the ranks add up two numbers per target, and never gather logits.
"""

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Partial, Replicate

IGNORED_TARGET = -100

# Logits processed at once on a GPU: large enough for efficient products.
_FUSED_BYTES = 1 << 28

# Logits processed at once on a CPU: about the size of a core's L2 cache.
_CACHED_BYTES = 1 << 21


def loss_sum(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of logits [rows, columns, vocabulary] summed over the counted targets [rows, columns], times the
    weights [rows] of their rows. The backward pass may overwrite the logits."""
    flat = logits.flatten(0, 1).float()
    return _CrossEntropy.apply(flat, targets.flatten(), _target_weights(targets, weights))


def linear_loss_sum(state: Tensor, weight: Tensor, targets: Tensor, row_weights: Tensor | None = None,
                    block_bytes: int = _FUSED_BYTES) -> Tensor:
    """`loss_sum` of the logits state @ weight.T, for states [rows, columns, width] and weight [vocabulary, width], whose
    rows may be distributed over a tensor-parallel group. Its ranks have all states and targets, and get the same loss."""
    inputs = (targets.flatten(), _target_weights(targets, row_weights), block_bytes)
    if not isinstance(weight, DTensor):
        return _LinearCrossEntropy.apply(state.flatten(0, 1), weight, *inputs, None)
    mesh = weight.device_mesh
    own, states = weight.to_local(), state.to_local(grad_placements=[Partial()])
    part = VocabularyPart(mesh.get_group(), mesh.get_local_rank() * own.shape[0])
    loss = _LinearCrossEntropy.apply(states.flatten(0, 1), own, *inputs, part)
    return DTensor.from_local(loss, mesh, [Replicate()], run_check=False)


def _target_weights(targets: Tensor, row_weights: Tensor | None) -> Tensor:
    """[rows * columns]; 0 for ignored targets."""
    counts = (targets != IGNORED_TARGET).float()
    return (counts if row_weights is None else counts * row_weights.unsqueeze(1)).flatten()


class VocabularyPart(NamedTuple):
    """The same number of rows of the output layer on each rank of a tensor-parallel group."""

    group: dist.ProcessGroup
    # Id of this rank's first token.
    first: int

    def norm_and_target(self, norm: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithm of the sum of exp(logits) and logit of the target over the whole vocabulary, [rows, 1], from those of this
        rank's part, where a target in another part is 0."""
        maximum = norm.clone()
        dist.all_reduce(maximum, dist.ReduceOp.MAX, self.group)
        sums = torch.cat(((norm - maximum).exp_(), target), dim=1)
        dist.all_reduce(sums, dist.ReduceOp.SUM, self.group)
        total, target = sums.split(1, dim=1)
        return total.log().add_(maximum), target


class _LinearCrossEntropy(torch.autograd.Function):
    """States [targets, width], weight [vocabulary, width], targets and their weights [targets]. The forward pass computes
    the gradients of each block while it has the logits. With a `part` of the vocabulary, the gradient of the states is that
    of this part."""

    @staticmethod
    def forward(ctx, state: Tensor, weight: Tensor, targets: Tensor, weights: Tensor, block_bytes: int,
                part: VocabularyPart | None) -> Tensor:
        block_rows = max(1, block_bytes // (4 * weight.shape[0]))
        ids = targets.unsqueeze(1) - (0 if part is None else part.first)
        places = ids.clamp(0, weight.shape[0] - 1)
        # 0 for targets in other parts of the vocabulary.
        presence = (places == ids).float()
        total = torch.zeros((), dtype=torch.float32, device=state.device)
        learns = any(ctx.needs_input_grad[:2])
        state_gradient = torch.empty_like(state) if learns else None
        weight_gradient = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if learns else None
        for start in range(0, state.shape[0], block_rows):
            rows = slice(start, start + block_rows)
            place, present, factor = places[rows], presence[rows], weights[rows].unsqueeze(1)
            logits = (state[rows] @ weight.T).float()
            norm, target = logits.logsumexp(dim=1, keepdim=True), logits.gather(1, place) * present
            if part is not None:
                norm, target = part.norm_and_target(norm, target)
            total += ((norm - target) * factor).sum()
            if learns:
                logits.sub_(norm).exp_().mul_(factor).scatter_add_(1, place, -factor * present)
                gradient = logits.to(state.dtype)
                # At once, so that the logits of two blocks never exist together.
                del logits
                state_gradient[rows] = gradient @ weight
                weight_gradient += gradient.T @ state[rows]
                del gradient
        ctx.save_for_backward(state_gradient, weight_gradient)
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor):
        state_gradient, weight_gradient = ctx.saved_tensors
        return state_gradient.mul_(gradient), weight_gradient.mul_(gradient).to(ctx.weight_dtype), None, None, None, None


class _CrossEntropy(torch.autograd.Function):
    """Logits [targets, vocabulary], targets [targets], weights [targets]; a target with weight 0 may be invalid."""

    @staticmethod
    def forward(ctx, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        block_bytes = _CACHED_BYTES if logits.device.type == "cpu" else _FUSED_BYTES
        ctx.block_rows = max(1, block_bytes // (logits.element_size() * logits.shape[1]))
        places = targets.clamp(min=0).unsqueeze(1)
        norms = torch.cat([part.logsumexp(dim=1, keepdim=True) for part in logits.split(ctx.block_rows)])
        ctx.save_for_backward(logits, places, weights, norms)
        return (norms - logits.gather(1, places)).squeeze(1) @ weights

    @staticmethod
    def backward(ctx, gradient: Tensor):
        logits, places, weights, norms = ctx.saved_tensors
        factors = (weights * gradient).unsqueeze(1)
        for part, place, factor, norm in zip(*(tensor.split(ctx.block_rows) for tensor in (logits, places, factors, norms))):
            part.sub_(norm).exp_().mul_(factor).scatter_add_(1, place, -factor)
        return logits, None, None
