"""Converts a checkpoint of Modalities: weights and AdamW's moments to safetensors files with Penstock's names.

    python -m penstock_torch.modalities < job.json

A job is {"model": path, "optimizer": path or null (moments are 0), "weights": [...], "target": folder}; each weight is
{"name", "sources", "shape", "fill"}: its name in Penstock, its possible names in Modalities, and the value it has when
Modalities does not store it, or null. A path is a file of torch.save or the folder of a distributed checkpoint of any
number of ranks. Unpickling is restricted to tensors and plain values. Prints {"steps_taken"}, or {"code", "message"}.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from .checkpoint import _MOMENT_KEYS, _SafeReader
from .faults import Fault
from .feed import memory_of

# Name prefixes added by wrappers of the model.
_WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
# Buffers that a model computes itself.
_TABLES = ".inv_freq"
_FOLDER_PREFIXES = {"model": "app.model.", "optimizer": "app.optimizer.state."}


def convert(job: dict) -> int:
    """Returns the number of steps taken by the optimizer; 0 without an optimizer."""
    target = Path(job["target"])
    weights = job["weights"]
    tensors = _read(Path(job["model"]), "model")
    _require_known(tensors, weights, job["model"])
    _write(target / "model.safetensors", {w["name"]: _tensor(tensors, w, "", w["fill"]) for w in weights}, {"format": "pt"})
    state = {} if job["optimizer"] is None else _read(Path(job["optimizer"]), "optimizer")
    moments = {
        f"{key}.{weight['name']}": _tensor(state, weight, f".{key}", _no_moment(weight, job))
        for key in _MOMENT_KEYS
        for weight in weights
    }
    steps = max((int(tensor.item()) for name, tensor in state.items() if name.endswith(".step")), default=0)
    _write(target / "optimizer.safetensors", moments, {"steps_taken": str(steps)})
    return steps


def _no_moment(weight: dict, job: dict) -> float | None:
    """Default of a moment that the optimizer state does not contain; None if it must contain it."""
    return None if job["optimizer"] is not None and weight["fill"] is None else 0.0


def _read(path: Path, part: str) -> dict[str, Tensor]:
    try:
        tensors = _read_folder(path, _FOLDER_PREFIXES[part]) if path.is_dir() else _read_file(path, part)
    except Fault:
        raise
    except Exception as error:
        raise Fault("CHECKPOINT_INVALID", f"{path}: not a valid checkpoint of tensors: {error}") from error
    return {_plain_name(name): tensor for name, tensor in tensors.items()}


def _read_file(path: Path, part: str) -> dict[str, Tensor]:
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if part == "model":
        return {name: tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}
    return {f"{name}.{key}": value for name, state in content["state"].items() for key, value in state.items()}


def _read_folder(path: Path, prefix: str) -> dict[str, Tensor]:
    reader = _SafeReader(path)
    tensors = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in reader.read_metadata().state_dict_metadata.items()
        if name.startswith(prefix) and isinstance(entry, TensorStorageMetadata)
    }
    dcp.load(tensors, storage_reader=_SafeReader(path), no_dist=True)
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items()}


def _plain_name(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _require_known(tensors: dict[str, Tensor], weights: list[dict], path: str):
    known = {name for weight in weights for name in weight["sources"]}
    others = sorted(name for name in tensors if name not in known and not name.endswith(_TABLES))
    if others:
        raise Fault("WORLD_MISMATCH", f"{path}: the configuration has no weight {others[0]}")


def _tensor(tensors: dict[str, Tensor], weight: dict, suffix: str, fill: float | None) -> Tensor:
    found = next((tensors[name + suffix] for name in weight["sources"] if name + suffix in tensors), None)
    if found is None:
        if fill is None:
            raise Fault("CHECKPOINT_INVALID", f"the checkpoint has no weight {weight['sources'][0]}")
        return torch.full(weight["shape"], fill)
    if list(found.shape) != weight["shape"]:
        message = f"{weight['sources'][0]} has shape {list(found.shape)}, expected {weight['shape']} by the configuration"
        raise Fault("WORLD_MISMATCH", message)
    return found


def _write(file: Path, tensors: dict[str, Tensor], metadata: dict[str, str]):
    """See src/formats/safetensors.ts for the layout. Converts one tensor at a time to float32."""
    header: dict = {"__metadata__": metadata}
    end = 0
    for name in sorted(tensors):
        start, end = end, end + 4 * tensors[name].numel()
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [start, end]}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with open(file, "wb") as out:
        out.write(len(encoded).to_bytes(8, "little") + encoded)
        for name in sorted(tensors):
            here = tensors[name].detach().float().contiguous()
            out.write(memory_of(here))


def main():
    try:
        answer: dict = {"steps_taken": convert(json.load(sys.stdin))}
    except Fault as fault:
        answer = {"code": fault.code, "message": str(fault)}
    except OSError as error:
        answer = {"code": "FILE_UNWRITABLE", "message": str(error)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
