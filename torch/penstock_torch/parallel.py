"""Device, process group and mesh of a rank, and the distribution of the model over the mesh."""

import itertools
import math
import os
import resource
import sys

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from . import hang_report
from .faults import Fault
from .model import Gpt
from .tensor_parallel import split_layers


def local_rank() -> int:
    return int(os.environ["LOCAL_RANK"])


def join(device_type: str) -> torch.device:
    """Selects this rank's device and joins the process group given by the launcher's environment."""
    hang_report.record_collectives()
    if device_type == "cuda" and not torch.cuda.is_available():
        raise Fault("BACKEND_UNAVAILABLE", "device is cuda, but this torch finds no CUDA device")
    if device_type != "cpu" and torch.cuda.is_available():
        if local_rank() >= torch.cuda.device_count():
            message = f"local rank {local_rank()} has no GPU: this machine has {torch.cuda.device_count()}"
            raise Fault("BACKEND_UNAVAILABLE", message)
        _prefer_expandable_segments()
        device = torch.device("cuda", local_rank())
        torch.cuda.set_device(device)
        # TF32 products for float32 weights; no effect on bfloat16.
        torch.set_float32_matmul_precision("high")
        _join_group("nccl", device_id=device)
    else:
        device = torch.device("cpu")
        _join_group("gloo")
    return device


def _prefer_expandable_segments():
    """Lets the allocator extend its segments, which leaves fewer gaps between blocks of different sizes; must precede the first
    allocation. Settings of the user have priority."""
    if not {"PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"} & os.environ.keys():
        current = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 9)
        os.environ["PYTORCH_ALLOC_CONF" if current else "PYTORCH_CUDA_ALLOC_CONF"] = "expandable_segments:True"


def _join_group(backend: str, **more):
    """Like `init_process_group(backend)`, with a separate store prefix per restart: torchrun's store outlives a restart, and
    ranks would find the addresses of dead ones. On several machines the restarts have no common number; there, torchrun
    must be configured to open a new store (docs/distributed.md)."""
    store, rank, world_size = next(dist.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        store = dist.PrefixStore(f"attempt {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, **more)


def peak_memory(device: torch.device) -> int:
    """Peak memory of this rank on its device in bytes; on a CPU, of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


# Options that determine the distribution of the model and must be the same on all machines.
SHARED_OPTIONS = (
    "mixed_precision", "compile", "activation_checkpointing", "checkpointed_layers_every", "activation_memory_budget",
    "replicate_degree", "shard_degree", "tensor_parallel", "reduce_every",
)


def require_agreement(facts: dict):
    """Collective: verifies that the facts are the same on every rank; raises on all ranks if not."""
    gathered: list = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, facts)
    for rank, others in enumerate(gathered):
        for key in sorted(gathered[0].keys() | others.keys()):
            if gathered[0].get(key) != others.get(key):
                message = f"rank {rank} has {key} {others.get(key)}, rank 0 has {gathered[0].get(key)}"
                raise Fault("WORLD_MISMATCH", f"the ranks have different definitions: {message}")


_COMMANDS = ("step", "evaluate", "logits", "save", "close", "open", "agree", "weights", "load", "initialize", "attention")


class FeederConsensus:
    """Synchronizes the commands of several machines, each with its own feeder.

    All feeders send the same commands in the same order, except that one may have been asked to stop. It requests the stop
    in place of its next step; all ranks skip that step and any sent after it, and the other feeders learn that they must
    save and end. The same reduction verifies that all feeders sent the same samples. A single feeder needs no comparison.
    """

    def __init__(self):
        several = int(os.environ.get("GROUP_WORLD_SIZE", "1")) > 1
        # Gloo, on CPU tensors: a GPU would have to be synchronized.
        self._group = dist.new_group(backend="gloo") if several else None
        self._stopped = False

    def agree(self, frame) -> bool:
        """Whether to execute the command. Only steps may be skipped."""
        if self._group is None:
            return True
        kind = frame.header["kind"]
        if self._stopped and kind == "step":
            return False
        stop = frame.header.get("stop", False)
        command, digest = _COMMANDS.index(kind), frame.header.get("digest", 0)
        mine = torch.tensor([command, -command, digest, -digest, stop], dtype=torch.int64)
        dist.all_reduce(mine, dist.ReduceOp.MAX, self._group)
        highest, negated_lowest, max_digest, negated_min_digest, self._stopped = mine.tolist()
        if highest != -negated_lowest:
            message = f"the machines' feeders sent different commands: {_COMMANDS[-negated_lowest]} and {_COMMANDS[highest]}"
            raise Fault("ENGINE_FAILED", message)
        if self._stopped:
            return False
        if max_digest != -negated_min_digest:
            raise Fault("WORLD_MISMATCH", "the machines' feeders sent different samples for one step")
        return True


def open_mesh(device: torch.device, options) -> DeviceMesh:
    """Dimensions `replicate`, `shard`, `tensor`, innermost last: neighbouring ranks form a tensor-parallel group. All
    ranks of one `tensor` group get the same rows from Node (src/training/torch/deal.ts)."""
    world = dist.get_world_size()
    replicate, tensor = options.replicate_degree, options.tensor_parallel
    shard = max(1, world // (replicate * tensor)) if options.shard_degree is None else options.shard_degree
    if replicate * shard * tensor != world:
        degrees = f"replicate_degree {replicate} x shard_degree {shard} x tensor_parallel {tensor}"
        raise Fault("OPTION_INVALID", f"{degrees} is not the world size, {world}")
    return init_device_mesh(device.type, (replicate, shard, tensor), mesh_dim_names=("replicate", "shard", "tensor"))


def computes_in_half(device: torch.device, options) -> bool:
    return options.mixed_precision == "bf16" or (options.mixed_precision == "auto" and device.type == "cuda")


def distribute(model: Gpt, device: torch.device, options, mesh: DeviceMesh) -> Gpt:
    """Applies tensor parallelism, compilation and FSDP to a model on the meta device and allocates it, uninitialized."""
    half = computes_in_half(device, options)
    if mesh["tensor"].size() > 1:
        split_layers(model, mesh["tensor"])
    if options.compile:
        for layer in model.model.layers:
            layer.compile()
    if mesh.size() > 1 or half:
        # Inputs are not cast: activations already have the weights' type, and rotary angles need float32.
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if half else None,
            reduce_dtype=torch.float32 if half else None,
            cast_forward_inputs=False,
        )
        data_mesh = mesh["shard"] if mesh["replicate"].size() == 1 else mesh["replicate", "shard"]
        for layer in model.model.layers:
            fully_shard(layer, mesh=data_mesh, mp_policy=policy)
        if not model.options.tie_weights:
            # Gathered when they are needed, not at the start of the pass. Tied ones are needed at both ends.
            fully_shard(model.model.embed_tokens, mesh=data_mesh, mp_policy=policy)
            fully_shard([model.model.norm, model.lm_head], mesh=data_mesh, mp_policy=policy, reshard_after_forward=False)
        fully_shard(model, mesh=data_mesh, mp_policy=policy)
        _prefetch(model)
    return model.to_empty(device=device)


def _prefetch(model: Gpt):
    """Gathers the weights of each group while the previous one computes, even if the process is late to start the next.
    In the backward pass FSDP does so itself."""
    trunk = model.model
    groups = list(trunk.layers) if model.options.tie_weights else [trunk.embed_tokens, *trunk.layers, trunk.norm]
    for group, following in itertools.pairwise(groups):
        group.set_modules_to_forward_prefetch([following])


def local_part(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def copies_of(parameter: Tensor) -> int:
    """Number of ranks that hold the same part of a parameter."""
    if not isinstance(parameter, DTensor):
        return 1
    mesh = parameter.device_mesh
    return math.prod(mesh.size(dim) for dim, placement in enumerate(parameter.placements) if placement.is_replicate())
