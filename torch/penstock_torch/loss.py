"""Cross-entropy over the counted targets.

On a CPU the logits of a large vocabulary exceed the caches, and torch's function makes about eight passes over them. This
one processes a few rows at a time and writes the gradient over the logits: with a vocabulary of 50,304 it halves the time
after the output layer's product and needs one array of that size instead of three.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED_TARGET = -100

# Logits processed at once: about the size of a core's L2 cache.
_BLOCK_BYTES = 1 << 21


def loss_sum(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of logits [rows, columns, vocabulary] summed over the counted targets [rows, columns], times the
    weights [rows] of their rows. The backward pass may overwrite the logits."""
    flat = logits.flatten(0, 1).float()
    if flat.device.type == "cpu":
        counts = (targets != IGNORED_TARGET).float()
        of_targets = counts if weights is None else counts * weights.unsqueeze(1)
        return _CrossEntropy.apply(flat, targets.flatten(), of_targets.flatten())
    if weights is None:
        return F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORED_TARGET, reduction="sum")
    each = F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORED_TARGET, reduction="none")
    return each.view_as(targets).sum(dim=1) @ weights


class _CrossEntropy(torch.autograd.Function):
    """Logits [targets, vocabulary], targets [targets], weights [targets]; a target with weight 0 may be invalid."""

    @staticmethod
    def forward(ctx, logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        ctx.block_rows = max(1, _BLOCK_BYTES // (logits.element_size() * logits.shape[1]))
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
