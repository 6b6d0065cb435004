"""Documents of a micro batch: attention stays within each, and positions may start again at 0 in each."""

import inspect
from typing import NamedTuple

import torch
from torch import Tensor

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:
    varlen_attn = None

# Earlier versions of torch lack the function, or causal windows and shared key heads in it.
_HAS_VARLEN = varlen_attn is not None and {"window_size", "enable_gqa"} <= inspect.signature(varlen_attn).parameters.keys()


class Documents(NamedTuple):
    # Position of each token, [rows, columns]; None where it is the column.
    positions: Tensor | None
    # Added to the scores: 0 where a position may attend, -inf elsewhere; [rows, 1, columns, columns].
    mask: Tensor | None
    # For variable-length attention instead of the mask: where each document starts in the flattened micro batch, then its
    # end; int32 [documents + 1]. No document is longer than a row.
    offsets: Tensor | None


def has_variable_length_kernel(device: torch.device, half: bool) -> bool:
    return device.type == "cuda" and half and _HAS_VARLEN


def documents_of(starts: Tensor, restart_positions: bool, device: torch.device, half: bool) -> Documents:
    """`starts`: column at which the document of each position starts, int32 [rows, columns], in the memory of the host, so
    that counting the documents does not wait for the device. `half`: whether attention computes in bfloat16."""
    columns = starts.shape[1]
    places = torch.arange(columns, dtype=torch.int32) - starts
    positions = _send(places, device).long() if restart_positions else None
    if has_variable_length_kernel(device, half):
        firsts = (places == 0).flatten().nonzero().flatten().to(torch.int32)
        end = torch.tensor([starts.numel()], dtype=torch.int32)
        return Documents(positions, None, _send(torch.cat((firsts, end)), device))
    return Documents(positions, _mask(_send(starts, device), torch.bfloat16 if half else torch.float32), None)


def _mask(starts: Tensor, dtype: torch.dtype) -> Tensor:
    keys = torch.arange(starts.shape[1], device=starts.device)
    hidden = (keys > keys.unsqueeze(1)) | (keys < starts.unsqueeze(2))
    return torch.zeros(hidden.shape, dtype=dtype, device=starts.device).masked_fill_(hidden, float("-inf")).unsqueeze(1)


def _send(values: Tensor, device: torch.device) -> Tensor:
    """Copies to a GPU through page-locked memory: copies from pageable memory wait for the previous step."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values
