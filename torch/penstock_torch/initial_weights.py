"""Initial weights, the bits of `initialPieces` in src/training/weights.ts: each rank computes its own shards on its device.

Composed of exactly rounded operations in the order of src/sampling/philox.ts and src/sampling/normal.ts; fused ones would
give other bits.
"""

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from .checkpoint import own_places
from .engine import Engine

_MASK = 0xFFFFFFFF
_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
# Elements that are computed at a time: their temporary values fit into a core's caches, or occupy a GPU.
_CHUNK = {"cpu": 1 << 15, "cuda": 1 << 20}


@torch.no_grad()
def initialize(engine: Engine, seed: int, weights: list):
    """`weights`: [name, standard deviation, fill] of every weight; a deviation of 0 sets all elements to `fill`."""
    for name, std, fill in weights:
        parameter = engine.parameters[name]
        target = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        if std == 0:
            target.fill_(fill)
            continue
        rows, columns = own_places(parameter, 0), own_places(parameter, 1)
        step = max(1, _CHUNK[target.device.type] // max(1, columns.numel()))
        for first in range(0, rows.numel(), step):
            here = rows[first : first + step].unsqueeze(1) * parameter.shape[1] + columns
            target[first : first + step].copy_(normal(here, seed, name).mul_(std))
    engine.weights_changed()


def normal(elements: Tensor, seed: int, name: str) -> Tensor:
    """Normal numbers, float64, of the elements with these numbers, int64, of a weight."""
    numbers = _numbers_of(elements.flatten(), seed, name).view_as(elements)
    probability = (numbers.double() + 0.5) / 4294967296.0
    q = probability - 0.5
    r = 0.180625 - q * q
    numerator = ((r * 59.10937472 + 159.29113202) * r + 50.434271938) * r + 3.3871327179
    denominator = ((r * 67.1875636 + 78.757757664) * r + 17.895169469) * r + 1
    center = q * numerator / denominator
    tail = torch.where(q < 0, probability, 1 - probability)
    r = torch.sqrt(-_logarithm(tail)) - 1.6
    numerator = ((r * 0.17023821103 + 1.3067284816) * r + 2.75681539) * r + 1.4234372777
    denominator = (r * 0.12021132975 + 0.7370016425) * r + 1
    outside = numerator / denominator
    return torch.where(q.abs() <= 0.425, center, torch.where(q < 0, -outside, outside))


def _logarithm(values: Tensor) -> Tensor:
    mantissa, exponent = torch.frexp(values)
    s = (mantissa - 1) / (mantissa + 1)
    t = s * s
    series = t / 15 + 1 / 13
    for divisor in (11, 9, 7, 5, 3, 1):
        series = series * t + 1 / divisor
    return exponent.double() * 0.6931471805599453 + 2 * s * series


def _numbers_of(elements: Tensor, seed: int, name: str) -> Tensor:
    """Unsigned 32-bit numbers, as int64: number i of a weight is the one at i % 4 of block i // 4."""
    block, place = elements >> 2, elements & 3
    # Neighbours share a block: with whole blocks in a row, each is computed once.
    shared = elements.numel() % 4 == 0 and bool(torch.equal(block[::4], block[3::4]) and place[0] == 0)
    words = _philox(block[::4] if shared else block, seed, name)
    if shared:
        return torch.stack(words, dim=1).flatten()
    return torch.stack(words).gather(0, place.unsqueeze(0)).squeeze(0)


def _philox(block: Tensor, seed: int, name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # Products of two 32-bit numbers wrap around in int64, which keeps their bits.
    c0, c1 = block & _MASK, block >> 32
    c2, c3 = torch.full_like(block, seed >> 32), torch.zeros_like(block)
    k0, k1 = seed & _MASK, _hash(name)
    for _ in range(_ROUNDS):
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (product1 >> 32 & _MASK) ^ c1 ^ k0, product1 & _MASK, (product0 >> 32 & _MASK) ^ c3 ^ k1, product0 & _MASK,
        )
        k0, k1 = k0 + _KEY_STEPS[0] & _MASK, k1 + _KEY_STEPS[1] & _MASK
    return c0, c1, c2, c3


def _hash(text: str) -> int:
    """32-bit FNV-1a."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & _MASK
    return value
