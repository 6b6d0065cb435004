"""Runs the torch engine's CUDA path on fake tensors: rank 0 of 8, without a GPU. Reads a JSON list of layouts from standard
input and prints a line of JSON per layout.

Shapes, types, operators and the order of collectives are real, values and times are not. A step that waits for the device
(.item(), .tolist()) raises, because fake tensors have no values.
"""

import collections
import contextlib
import ctypes
import gc
import json
import os
import sys
import types
import weakref

import torch
import torch.distributed as dist
import torch.utils._device
from torch.distributed.tensor import DTensor
from torch.utils._pytree import tree_leaves

WORLD = 8


class NoEvent:
    def __init__(self, *_, **__): pass
    def record(self, stream=None): pass
    def wait(self, stream=None): pass
    def query(self): return True
    def synchronize(self): pass


class NoStream(NoEvent):
    stream_id, device_index, device_type = 0, 0, 1
    device = torch.device("cuda", 0)

    def wait_stream(self, stream): pass
    def wait_event(self, event): pass
    def record_event(self, event=None): return event or NoEvent()


def pretend_cuda(stub: str):
    torch._C._ensureCUDADeviceGuardSet()
    ctypes.c_int.in_dll(ctypes.CDLL(stub), "fake_device_count").value = WORLD
    properties = types.SimpleNamespace(major=9, minor=0, name="H100", total_memory=80 << 30, multi_processor_count=132)
    results = {
        "current_stream": NoStream(), "default_stream": NoStream(), "stream": contextlib.nullcontext(), "set_device": None,
        "current_device": 0, "device_count": WORLD, "is_available": True, "is_initialized": True, "_lazy_init": None,
        "synchronize": None, "get_device_capability": (9, 0), "get_device_properties": properties,
    }
    for name, result in results.items():
        setattr(torch.cuda, name, lambda *_, result=result, **__: result)
    torch.cuda.Stream, torch.cuda.Event = NoStream, NoEvent
    torch.Tensor.record_stream = lambda self, stream: None


pretend_cuda(sys.argv[1])
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from penstock_torch import attention as penstock_attention
from penstock_torch import documents as penstock_documents
from penstock_torch import model as penstock_model
from penstock_torch.engine import Engine, MicroBatch

fake = FakeTensorMode(allow_non_fake_inputs=True)
device = torch.device("cuda", 0)


def in_fake_mode(function):
    def call(*args, **kwargs):
        with fake:
            return function(*args, **kwargs)
    return call


def fake_attention(query, key, value, attn_mask=None, is_causal=True, enable_gqa=False):
    """The kernel that CUDA selects: flash, or memory-efficient for float32."""
    assert (attn_mask is None) == is_causal
    if query.dtype == torch.float32:
        groups = query.shape[1] // key.shape[1]
        key, value = (tensor.repeat_interleave(groups, 1) for tensor in (key, value))
        return torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, attn_mask, True, 0.0, is_causal
        )[0]
    return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, True, False)[0]


# Memory that the engine allocates outside a step must be fake too.
penstock_model.Gpt.to_empty = in_fake_mode(penstock_model.Gpt.to_empty)
Engine._open_optimizer = in_fake_mode(Engine._open_optimizer)
torch.nn.functional.scaled_dot_product_attention = fake_attention
penstock_documents._mask = in_fake_mode(penstock_documents._mask)
penstock_documents._send = lambda values, to: fake.from_tensor(values).to(to)
# Remembered before torch.empty is replaced, so that torch.device("meta") still applies to it.
torch.utils._device._device_constructors()
real_empty, fake_empty = torch.empty, in_fake_mode(torch.empty)
torch.empty = lambda *args, **kwargs: (
    fake_empty if str(kwargs.get("device", "cpu")).startswith("cuda") else real_empty
)(*args, **kwargs)


# Without a GPU torch rejects every kernel. These reject what no fast kernel can compute.
penstock_attention._CHECKS = (
    lambda given, debug=False: given.query.dtype != torch.float32 and given.query.shape[3] <= 256,
    lambda given, debug=False: not given.enable_gqa and given.query.shape[3] <= 256,
)


OPTIMIZER = dict(learning_rate=1e-3, betas=[0.9, 0.95], eps=1e-8, weight_decay=0.1, weight_decay_groups_excluded=[])


class Collectives(TorchDispatchMode):
    """Counts the collectives of a step."""

    KINDS = {"allgather": "all-gather", "all_gather": "all-gather", "reduce_scatter": "reduce-scatter",
             "allreduce": "all-reduce", "all_reduce": "all-reduce", "alltoall": "all-to-all", "all_to_all": "all-to-all"}

    def __init__(self):
        super().__init__()
        self.counts = collections.Counter()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = str(operator)
        if name.startswith(("c10d.", "_c10d_functional.")) and "wait" not in name:
            kind = next((kind for part, kind in self.KINDS.items() if part in name), None)
            if kind is not None:
                self.counts[kind] += 1
        return operator(*args, **(kwargs or {}))


class Memory(TorchDispatchMode):
    """Adds up the storages alive on the device: `peak` is what the caching allocator would report, without its rounding."""

    def __init__(self):
        super().__init__()
        self.current = self.peak = 0
        self._alive = {}

    def add(self, tensor):
        tensor = tensor._local_tensor if isinstance(tensor, DTensor) else tensor
        if tensor.device.type != "cuda":
            return
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._alive:
            return
        self._alive[key] = [weakref.ref(storage, lambda _: self._change(-self._alive.pop(key)[1])), storage.nbytes()]
        self._change(storage.nbytes())

    def resized(self, storage):
        """FSDP frees and allocates gathered weights by resizing their storage."""
        found = self._alive.get(id(storage))
        if found is not None:
            self._change(storage.nbytes() - found[1])
            found[1] = storage.nbytes()

    def _change(self, size: int):
        self.current += size
        self.peak = max(self.peak, self.current)

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result = operator(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor)
        return result


def weights_of(model: dict) -> list:
    with torch.device("meta"):
        gpt = penstock_model.Gpt(types.SimpleNamespace(**model))
    return [[name, list(parameter.shape), parameter.ndim == 2] for name, parameter in gpt.named_parameters()]


def open_engine(layout: dict) -> Engine:
    model = layout["model"]
    return Engine(model, OPTIMIZER, 1.0, layout["torch"], weights_of(model), device)


def check(layout: dict) -> dict:
    """All that an engine does, on two rows, and the collectives of a step."""
    engine = open_engine(layout)
    columns = layout["model"]["sequence_length"]
    starts = torch.tensor([[0] * columns, [0] * 10 + [10] * (columns - 10)], dtype=torch.int32)
    with fake:
        ids = torch.zeros(2, columns, dtype=torch.int64, device=device)
        weights = torch.zeros(2, device=device)
    documents = engine.documents_of(starts, True) if layout.get("documents") else None
    variable = layout["torch"]["mixed_precision"] != "none"
    assert documents is None or (documents.mask is None) == (documents.offsets is not None) == variable
    with fake:
        with Collectives() as collectives:
            figures = engine.step([MicroBatch(ids, ids, None, documents)] * layout.get("micro_batches", 1), 128, 1e-3)
        engine.step([MicroBatch(ids, ids, weights, documents)] * 2, 1, 1e-3)
        loss = engine.evaluate([MicroBatch(ids, ids, None, documents)])
        logits = engine.logits(ids[:1, :5])
    shapes = [list(tensor.shape) for tensor in (figures, loss, logits)]
    kernels = [kernel.name for kernel in torch.nn.attention._cur_sdpa_kernel_backends(with_priority=True)]
    warning = engine.attention_warning(documents is not None)
    return {
        "collectives": dict(collectives.counts), "shapes": shapes, "device": figures.device.type, "kernels": kernels,
        "warning": warning,
    }


def measure(layout: dict) -> dict:
    """Peak memory of the second step, in bytes."""
    gc.collect()
    engine = open_engine(layout)
    memory = Memory()
    for parameter in engine.parameters.values():
        memory.add(parameter)
        for tensor in engine.optimizer.state[parameter].values():
            memory.add(tensor)
    held = memory.current
    resize = torch.UntypedStorage.resize_
    def resize_and_count(storage, size):
        resize(storage, size)
        memory.resized(storage)
    torch.UntypedStorage.resize_ = resize_and_count
    with fake:
        ids = torch.zeros(layout["rows"], layout["model"]["sequence_length"], dtype=torch.int64, device=device)
        with memory:
            for _ in range(2):
                memory.peak = memory.current
                engine.step([MicroBatch(ids, ids, None, None)] * layout.get("micro_batches", 1), ids.numel(), 1e-3)
    torch.UntypedStorage.resize_ = resize
    return {"held": held, "peak": memory.peak}


os.environ.update(LOCAL_RANK="0", RANK="0", WORLD_SIZE=str(WORLD), LOCAL_WORLD_SIZE=str(WORLD), GROUP_WORLD_SIZE="1")
dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=WORLD)
for layout in json.load(sys.stdin):
    result = measure(layout) if "rows" in layout else check(layout)
    print(json.dumps({"name": layout["name"], **result}), flush=True)
