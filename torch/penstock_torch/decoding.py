"""Keys and values of the tokens whose logits were computed last, so that generating a text computes each token once."""

import torch
from torch import Tensor, nn


class KeyValueCache:
    def __init__(self):
        # [1, columns]
        self._ids: Tensor | None = None
        # [1, columns, key heads, head width] of each attention.
        self._layers: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def continue_with(self, ids: Tensor) -> int:
        """Announces the ids [1, columns] that follow; clears the cache unless they continue the ids before by one. Returns
        the number of ids whose keys and values are here: all but the last, or none."""
        known = self._ids
        continues = known is not None and known.shape[1] == ids.shape[1] - 1 and torch.equal(known, ids[:, :-1])
        if not continues:
            self.clear()
        self._ids = ids
        return known.shape[1] if continues else 0

    def extend(self, attention: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Adds keys and values of new tokens; returns those of all tokens."""
        before = self._layers.get(attention)
        if before is not None:
            key, value = torch.cat((before[0], key), dim=1), torch.cat((before[1], value), dim=1)
        self._layers[attention] = (key, value)
        return key, value

    def clear(self):
        self._ids = None
        self._layers.clear()
