"""Contents of a checkpoint's files, and how they are read. The bytes are those of the tfjs engine.

    model.safetensors     all weights
    optimizer.safetensors AdamW's moments and the number of steps taken
    optimizer/            the moments as a distributed checkpoint (DCP): written by earlier versions, still read
"""

import json
import math
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Iterator

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from .engine import Engine
from .faults import Fault

_MODEL = "model.safetensors"
_MOMENTS = "optimizer.safetensors"
_DCP_MOMENTS = "optimizer"
_MOMENT_KEYS = ("exp_avg", "exp_avg_sq")


@dataclass
class StateFile:
    """A safetensors file to be written. See src/formats/safetensors.ts for the layout."""

    name: str
    metadata: dict[str, str]
    # In the order of the file.
    tensors: list[tuple[str, Tensor]]

    def __post_init__(self):
        self._header = self._encode_header()
        self.size = len(self._header) + sum(4 * tensor.numel() for _, tensor in self.tensors)

    def contents(self) -> Iterator[Tensor]:
        """Collective. The bytes of the file, in pieces, uint8: the header, then each tensor, gathered from all ranks. A rank
        holds at most one of them besides its shards."""
        yield torch.frombuffer(self._header, dtype=torch.uint8)
        for _, tensor in self.tensors:
            whole = tensor.detach().full_tensor() if isinstance(tensor, DTensor) else tensor.detach()
            yield whole.contiguous().view(-1).view(torch.uint8)

    def _encode_header(self) -> bytearray:
        header: dict = {"__metadata__": self.metadata}
        end = 0
        for name, tensor in self.tensors:
            start, end = end, end + 4 * tensor.numel()
            header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
        encoded = json.dumps(header, separators=(",", ":")).encode()
        encoded += b" " * (-len(encoded) % 8)
        return bytearray(len(encoded).to_bytes(8, "little") + encoded)


def state_files(engine: Engine) -> list[StateFile]:
    steps = {"steps_taken": str(engine.steps_taken)}
    return [
        StateFile(_MODEL, {"format": "pt"}, sorted(engine.parameters.items())),
        StateFile(_MOMENTS, steps, sorted(_moments(engine).items())),
    ]


def load(engine: Engine, folder: str):
    at = Path(folder)
    load_weights(engine, at / _MODEL)
    if (at / _MOMENTS).exists():
        steps = _load_moments(engine, at / _MOMENTS)
    elif (at / _DCP_MOMENTS).is_dir():
        moments = {**_moments(engine), "steps_taken": torch.tensor(0)}
        dcp.load(moments, storage_reader=_SafeReader(at / _DCP_MOMENTS))
        steps = int(moments["steps_taken"].item())
    else:
        # A checkpoint without optimizer state, such as a converted model.
        steps = 0
        for moment in _moments(engine).values():
            moment.zero_()
    engine.steps_taken = steps
    for state in engine.optimizer.state.values():
        state["step"].fill_(steps)


def load_weights(engine: Engine, file: Path):
    tensors, _ = read_safetensors(file)
    _require_names(engine.parameters.keys(), tensors.keys(), file)
    for name, parameter in engine.parameters.items():
        _fill(parameter, tensors[name], name, file)
    engine.weights_changed()
    for module in engine.model.modules():
        # An evaluation leaves some weights gathered: the next pass would use them instead of the loaded ones.
        if isinstance(module, FSDPModule):
            module.reshard()


def _moments(engine: Engine) -> dict[str, Tensor]:
    """Optimizer tensors by name; loading fills them in place."""
    state = engine.optimizer.state
    return {
        f"{key}.{name}": state[parameter][key]
        for name, parameter in engine.parameters.items()
        for key in _MOMENT_KEYS
    }


def _load_moments(engine: Engine, file: Path) -> int:
    tensors, metadata = read_safetensors(file)
    moments = _moments(engine)
    _require_names(moments.keys(), tensors.keys(), file)
    for name, moment in moments.items():
        _fill(moment, tensors[name], name, file)
    return int(metadata["steps_taken"])


@torch.no_grad()
def _fill(target: Tensor, whole: Tensor, name: str, file: Path):
    """Copies this rank's shard of a tensor; each rank reads only the pages of the file that it needs."""
    if whole.shape != target.shape:
        message = f"{file}: {name} has shape {list(whole.shape)}, expected {list(target.shape)}"
        raise Fault("WORLD_MISMATCH", message)
    if isinstance(target, DTensor):
        target.to_local().copy_(_part(whole, target))
    else:
        target.copy_(whole)


def _part(whole: Tensor, target: DTensor) -> Tensor:
    """This rank's shard."""
    for split, size, mine in _splits(target):
        whole = _chunk(whole, split, size, mine)
    return whole


def own_places(target: Tensor, dimension: int) -> Tensor:
    """Places along a dimension of a weight that this rank's shard has, int64."""
    places = torch.arange(target.shape[dimension], device=target.device)
    for split, size, mine in _splits(target) if isinstance(target, DTensor) else ():
        if split == dimension:
            places = _chunk(places, 0, size, mine)
    return places


def _splits(target: DTensor) -> Iterable[tuple[int, int, int]]:
    """Dimension that is split, number of parts and number of this rank's part, of each split. The innermost mesh dimension
    splits first: FSDP shards the result of tensor parallelism."""
    mesh = target.device_mesh
    for dimension in reversed(range(mesh.ndim)):
        # Only sharding placements have a `dim`; not all of them are instances of Shard.
        split = getattr(target.placements[dimension], "dim", None)
        if split is not None:
            yield split, mesh.size(dimension), mesh.get_local_rank(dimension)


def _chunk(whole: Tensor, dimension: int, size: int, mine: int) -> Tensor:
    parts = whole.chunk(size, dim=dimension)
    # There may be fewer parts than ranks.
    return parts[mine] if mine < len(parts) else whole.narrow(dimension, 0, 0)


def _require_names(expected: Iterable[str], found: Iterable[str], file: Path):
    different = sorted(set(expected) ^ set(found))
    if different:
        raise Fault("WORLD_MISMATCH", f"{file}: the state belongs to another model: {different[0]} is in only one of them")


def read_safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """float32 tensors as views of the memory-mapped file. Sizes are validated before mapping."""
    try:
        size = os.path.getsize(file)
        with open(file, "rb") as source:
            length = int.from_bytes(source.read(8), "little")
            if length > size - 8:
                raise ValueError(f"a header of {length} bytes in a file of {size}")
            header = json.loads(source.read(length), object_pairs_hook=_without_duplicates)
        mapped = torch.from_file(str(file), size=size, dtype=torch.uint8)
        metadata = header.pop("__metadata__", {})
        return {name: _view(mapped, 8 + length, entry) for name, entry in header.items()}, metadata
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise Fault("CHECKPOINT_INVALID", f"{file}: not a valid float32 safetensors file: {error!r}") from error


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """json.loads would silently keep the last of two tensors with the same name."""
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("a name occurs twice in the header")
    return unique


def _view(mapped: Tensor, data_offset: int, entry: dict) -> Tensor:
    start, end = entry["data_offsets"]
    if entry["dtype"] != "F32" or end - start != 4 * math.prod(entry["shape"]):
        raise ValueError(f"{entry}: only F32 is supported")
    content = mapped[data_offset + start : data_offset + end]
    if content.numel() != end - start:
        raise ValueError(f"{entry}: the file is truncated")
    # Other programs may write data at any offset; a float view must start at a multiple of 4.
    aligned = content if (data_offset + start) % 4 == 0 else content.clone()
    return aligned.view(torch.float32).reshape(entry["shape"])


class _SafeReader(dcp.FileSystemReader):
    """Reads the checkpoint's index, a pickle, restricted to the types of an index."""

    def read_metadata(self, *args, **kwargs):
        with open(Path(self.path) / ".metadata", "rb") as source:
            metadata = _IndexUnpickler(source).load()
        if getattr(metadata, "storage_meta", None) is None:
            metadata.storage_meta = self.storage_meta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _IndexUnpickler(pickle.Unpickler):
    _MODULES = ("torch.distributed.checkpoint.metadata", "torch.distributed.checkpoint.filesystem")
    _NAMES = {
        ("torch", "Size"), ("torch", "float32"), ("torch", "float16"), ("torch", "bfloat16"), ("torch", "int64"),
        ("torch.serialization", "_get_layout"), ("collections", "OrderedDict"), ("pathlib", "PosixPath"), ("pathlib._local", "PosixPath"),
    }

    def find_class(self, module: str, name: str):
        # A dotted name could reach outside an allowed module.
        if "." not in name and (module in self._MODULES or (module, name) in self._NAMES):
            return super().find_class(module, name)
        raise Fault("CHECKPOINT_INVALID", f"the optimizer's index contains the forbidden type {module}.{name}")
