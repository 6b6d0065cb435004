"""Reads and writes the files of a checkpoint, in a folder that Node creates and renames.

    model.safetensors     all weights, gathered one by one at rank 0; same format as the tfjs engine's file
    optimizer/            AdamW's moments as a distributed checkpoint: every rank writes its shards, any world size can read them
    optimizer.safetensors the tfjs engine's moments; read, never written
"""

import json
import math
import os
import pickle
from pathlib import Path
from typing import Iterable

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from .engine import Engine
from .faults import Fault
from .feed import memory_of

_MODEL = "model.safetensors"
_MOMENTS = "optimizer"
_TFJS_MOMENTS = "optimizer.safetensors"
_MOMENT_KEYS = ("exp_avg", "exp_avg_sq")


def save(engine: Engine, folder: str) -> list[str]:
    """Writes weights and moments. Returns, at rank 0, the names of the files, relative to the folder."""
    at = Path(folder)
    _write_weights(engine, at / _MODEL)
    dcp.save(_moments(engine), checkpoint_id=at / _MOMENTS)
    if dist.get_rank() != 0:
        # Rank 0's machine may already have renamed the folder.
        return []
    return [_MODEL] + [f"{_MOMENTS}/{name}" for name in sorted(os.listdir(at / _MOMENTS))]


def load(engine: Engine, folder: str):
    at = Path(folder)
    load_weights(engine, at / _MODEL)
    if (at / _MOMENTS).is_dir():
        moments = _moments(engine)
        dcp.load(moments, storage_reader=_SafeReader(at / _MOMENTS))
        steps = int(moments["steps_taken"].item())
    elif (at / _TFJS_MOMENTS).exists():
        steps = _load_tfjs_moments(engine, at / _TFJS_MOMENTS)
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
    moments = {
        f"{key}.{name}": state[parameter][key]
        for name, parameter in engine.parameters.items()
        for key in _MOMENT_KEYS
    }
    return {**moments, "steps_taken": torch.tensor(engine.steps_taken)}


def _load_tfjs_moments(engine: Engine, file: Path) -> int:
    tensors, metadata = read_safetensors(file)
    moments = _moments(engine)
    moments.pop("steps_taken")
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


def _write_weights(engine: Engine, file: Path):
    """Gathers one weight at a time: a rank holds at most its shards and the largest weight."""
    names = sorted(engine.parameters)
    out = open(file, "wb") if dist.get_rank() == 0 else None
    try:
        if out is not None:
            out.write(_safetensors_header([(name, engine.parameters[name]) for name in names]))
        for name in names:
            parameter = engine.parameters[name].detach()
            whole = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
            if out is not None:
                here = whole.cpu().contiguous()
                out.write(memory_of(here))
    finally:
        if out is not None:
            out.close()


def _safetensors_header(tensors: list[tuple[str, Tensor]]) -> bytes:
    """See src/formats/safetensors.ts for the layout."""
    header: dict = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors:
        start, end = end, end + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded


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
