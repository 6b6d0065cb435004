"""Shows where a rank is when a command takes too long: the Python stacks of its threads, and its last collectives."""

import faulthandler
import os

import torch.distributed as dist
from torch._C import _distributed_c10d as c10d

# Collectives that torch's flight recorder keeps, unless the user has set another number.
_RECORDED = 2000


def record_collectives():
    """Must precede the creation of the process group."""
    # Torch 2.8 renamed the variable, and warns about the old name.
    name = "TORCH_FR_BUFFER_SIZE" if hasattr(c10d, "_dump_fr_trace") else "TORCH_NCCL_TRACE_BUFFER_SIZE"
    os.environ.setdefault(name, str(_RECORDED))


def write(folder: str) -> list[str]:
    """Writes the stacks and, where torch records them, the collectives, in the format of torch's analyzer (`torchfrtrace`).
    Returns the names of the files. May run in any thread while others wait for a collective."""
    rank = os.environ["RANK"]
    files = [f"rank-{rank}.stacks.txt"]
    with open(os.path.join(folder, files[0]), "w") as out:
        faulthandler.dump_traceback(out, all_threads=True)
    trace = _collectives()
    if trace is not None:
        files.append(f"collectives-rank-{rank}")
        with open(os.path.join(folder, files[1]), "wb") as out:
            out.write(trace)
    return files


def _collectives() -> bytes | None:
    """Torch's pickle of the last collectives; None where this version records none for the backend."""
    if not dist.is_initialized():
        return None
    dump = getattr(c10d, "_dump_nccl_trace" if dist.get_backend() == "nccl" else "_dump_fr_trace", None)
    return None if dump is None else dump()
