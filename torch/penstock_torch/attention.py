"""Attention kernels on GPUs: the order in which torch tries them, and the reason if none of the fast ones can run.

The math kernel, torch's last resort, stores the scores of all pairs of positions and is several times slower.
"""

import functools
import inspect
from typing import ContextManager, NamedTuple

import torch
import torch.nn.attention as kernels
from torch.backends import cuda
from torch.nn.attention import SDPBackend, sdpa_kernel

_HOPPER = (9, 0)
_CHECKS = tuple(
    getattr(cuda, name)
    for name in ("can_use_flash_attention", "can_use_cudnn_attention", "can_use_efficient_attention")
    if hasattr(cuda, name)
)


@functools.cache
def prefer_fast_kernels(device: torch.device) -> ContextManager:
    """From now on, torch tries the kernels in the order of `kernel_order`. The result, an entered context, must stay alive."""
    capability = torch.cuda.get_device_capability(device)
    order = kernel_order(capability, has_flash3=capability == _HOPPER and _activate_flash3())
    # Versions of torch before the option only restrict the choice.
    options = {"set_priority": True} if "set_priority" in inspect.signature(sdpa_kernel).parameters else {}
    context = sdpa_kernel(order, **options)
    context.__enter__()
    return context


def kernel_order(capability: tuple[int, int], has_flash3: bool) -> list[SDPBackend]:
    """cuDNN has kernels for Hopper and later, torch's own FlashAttention 2 is faster before; FlashAttention 3 replaces it."""
    flash, cudnn = SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION
    first = [cudnn, flash] if capability >= _HOPPER and not has_flash3 else [flash, cudnn]
    return [*first, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def _activate_flash3() -> bool:
    """Uses FlashAttention 3 if its package is installed and torch can select it."""
    if "FA3" not in getattr(kernels, "list_flash_attention_impls", list)():
        return False
    try:
        kernels.activate_flash_attention_impl("FA3")
    except (ImportError, RuntimeError):
        return False
    return True


class AttentionShape(NamedTuple):
    heads: int
    key_heads: int
    head_width: int
    columns: int
    dtype: torch.dtype
    has_mask: bool


def math_warning(shape: AttentionShape, device: torch.device) -> str | None:
    """A warning with reason and remedy if only the math kernel can compute this attention."""
    heads, key_heads, head_width, columns, dtype, has_mask = shape
    query, key = (torch.empty(1, count, columns, head_width, dtype=dtype, device=device) for count in (heads, key_heads))
    mask = torch.empty(1, 1, columns, columns, dtype=dtype, device=device) if has_mask else None
    parameters = cuda.SDPAParams(query, key, key, mask, 0.0, not has_mask, heads != key_heads)
    if any(check(parameters) for check in _CHECKS):
        return None
    reason = _known_reason(shape)
    if reason is None:
        for check in _CHECKS:
            check(parameters, debug=True)
        reason = "torch's reasons are in the output of rank 0"
    return f"attention uses the slow math kernel, which stores the scores of all pairs of positions: {reason}"


def _known_reason(shape: AttentionShape) -> str | None:
    if shape.head_width > 256:
        return f"heads are {shape.head_width} wide, and faster kernels end at 256; choose a smaller head_dim or more heads"
    if shape.head_width % 8 != 0:
        return f"heads are {shape.head_width} wide, which is not a multiple of 8; change head_dim or heads"
    if shape.dtype == torch.float32 and shape.key_heads != shape.heads:
        return "no faster kernel has shared key heads in float32; set torch.mixed_precision to bf16, or kv_heads to heads"
    return None
