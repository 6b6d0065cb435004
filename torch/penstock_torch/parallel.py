"""The world of the ranks: device, process group, mesh, and how the model is laid over it."""

import os
import resource
import sys

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from .faults import Fault
from .model import Gpt
from .tensor_parallel import split_layers

# Dense bfloat16 operations a second, by a part of the device's name; the reference system's numbers.
_PEAK_FLOPS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "GH200": 989e12, "B200": 2250e12}


def local_rank() -> int:
    return int(os.environ["LOCAL_RANK"])


def join(wanted: str) -> torch.device:
    """Takes this rank's device and joins the process group that the launcher's environment describes."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise Fault("BACKEND_UNAVAILABLE", "device is cuda, but this torch finds no CUDA device")
    if wanted != "cpu" and torch.cuda.is_available():
        if local_rank() >= torch.cuda.device_count():
            message = f"local rank {local_rank()} has no GPU of its own: there are {torch.cuda.device_count()}"
            raise Fault("BACKEND_UNAVAILABLE", message)
        device = torch.device("cuda", local_rank())
        torch.cuda.set_device(device)
        # Products in TF32 where weights stay float32; a no-op for bfloat16.
        torch.set_float32_matmul_precision("high")
        _join_group("nccl", device_id=device)
    else:
        device = torch.device("cpu")
        _join_group("gloo")
    return device


def _join_group(backend: str, **more):
    """Like `init_process_group(backend)`, but keeps the attempts of an elastic launcher apart: torchrun's store outlives a
    restart, and ranks would find the addresses of those that died. Over several machines the attempts have no common
    number; there, torchrun must be told to open a new store (docs/distributed.md)."""
    store, rank, world_size = next(dist.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        store = dist.PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, **more)


def peak_flops(device: torch.device) -> float:
    """Of this rank's device; 0 where it is not known."""
    if device.type != "cuda":
        return 0.0
    name = torch.cuda.get_device_name(device)
    return next((flops for part, flops in _PEAK_FLOPS.items() if part in name), 0.0)


def peak_memory(device: torch.device) -> int:
    """Bytes of the device's memory that this rank has held at most; on a CPU, of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


# What all machines must be told alike to lay out one model.
SHARED_OPTIONS = (
    "mixed_precision", "compile", "activation_checkpointing", "replicate_degree", "shard_degree", "tensor_parallel",
)


def require_agreement(facts: dict):
    """Proves that every rank was told the same; raises on all of them when one was not."""
    told: list = [None] * dist.get_world_size()
    dist.all_gather_object(told, facts)
    for rank, others in enumerate(told):
        for key in sorted(told[0].keys() | others.keys()):
            if told[0].get(key) != others.get(key):
                message = f"rank {rank} has {key} {others.get(key)}, rank 0 has {told[0].get(key)}"
                raise Fault("WORLD_MISMATCH", f"the ranks do not train the same thing: {message}")


_COMMANDS = ("step", "evaluate", "logits", "save", "close", "open", "agree", "weights", "load")


class FeederConsensus:
    """Keeps the machines of a run at the same command, each of which has a feeder of its own.

    All feeders say the same in the same order, but for one thing: one may be told to stop. It says so in the place of its
    next step; no rank takes that step, nor any that was sent after it, and the other feeders learn that it is time to save
    and end. The same look proves that all feeders sent the same samples. With one feeder there is nothing to compare.
    """

    def __init__(self):
        several = int(os.environ.get("GROUP_WORLD_SIZE", "1")) > 1
        # Numbers in main memory: a GPU would have to be waited for.
        self._group = dist.new_group(backend="gloo") if several else None
        self._stopped = False

    def agree(self, frame) -> bool:
        """Whether the command is to be done. Only steps may be not."""
        if self._group is None:
            return True
        kind = frame.header["kind"]
        if self._stopped and kind == "step":
            return False
        stop = frame.header.get("stop", False)
        command, digest = _COMMANDS.index(kind), frame.header.get("digest", 0)
        mine = torch.tensor([command, -command, digest, -digest, stop], dtype=torch.int64)
        dist.all_reduce(mine, dist.ReduceOp.MAX, self._group)
        most, least, digest_most, digest_least, self._stopped = mine.tolist()
        if most != -least:
            message = f"one machine's feeder wants to {kind}, another's to {_COMMANDS[-least if command == most else most]}"
            raise Fault("ENGINE_FAILED", message)
        if self._stopped:
            return False
        if digest_most != -digest_least:
            raise Fault("WORLD_MISMATCH", "the machines' feeders sent different samples for one step")
        return True


def open_mesh(device: torch.device, options) -> DeviceMesh:
    """Dimensions `replicate`, `shard`, `tensor`, the last one innermost: neighbouring ranks share a layer's products. All
    ranks of one `tensor` group get the same rows from Node (src/training/torch/deal.ts)."""
    world = dist.get_world_size()
    replicate, tensor = options.replicate_degree, options.tensor_parallel
    shard = max(1, world // (replicate * tensor)) if options.shard_degree is None else options.shard_degree
    if replicate * shard * tensor != world:
        degrees = f"replicate_degree {replicate} x shard_degree {shard} x tensor_parallel {tensor}"
        raise Fault("OPTION_INVALID", f"{degrees} is not the world's size, {world}")
    return init_device_mesh(device.type, (replicate, shard, tensor), mesh_dim_names=("replicate", "shard", "tensor"))


def lay_out(model: Gpt, device: torch.device, options, mesh: DeviceMesh) -> Gpt:
    """Splits, compiles, shards and gives memory to a model made on the meta device; its weights are undefined afterwards."""
    half = options.mixed_precision == "bf16" or (options.mixed_precision == "auto" and device.type == "cuda")
    if mesh["tensor"].size() > 1:
        split_layers(model, mesh["tensor"])
    if options.compile:
        for layer in model.model.layers:
            layer.compile()
    if mesh.size() > 1 or half:
        # Inputs stay as they are: activations have the weights' type anyway, and the angles of positions need all 32 bits.
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if half else None,
            reduce_dtype=torch.float32 if half else None,
            cast_forward_inputs=False,
        )
        data_mesh = mesh["shard"] if mesh["replicate"].size() == 1 else mesh["replicate", "shard"]
        for layer in model.model.layers:
            fully_shard(layer, mesh=data_mesh, mp_policy=policy)
        fully_shard(model, mesh=data_mesh, mp_policy=policy)
    return model.to_empty(device=device)
