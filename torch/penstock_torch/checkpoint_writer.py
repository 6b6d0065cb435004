"""Writes the files of a checkpoint with all ranks, while the training continues.

Each file is a sequence of parts of 4 MiB, and part p belongs to rank p modulo the number of ranks. The weights are gathered one
by one, and every rank copies what belongs to its own parts to host memory. A thread then writes and hashes these parts. The
bytes and hashes depend neither on the number of ranks nor on whether the training waits for the thread.
"""

import hashlib
import os
import threading
import traceback
from dataclasses import dataclass
from typing import Callable, Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor

from .checkpoint import StateFile
from .faults import Fault
from .feed import memory_of

PART_BYTES = 1 << 22


@dataclass
class Part:
    file: str
    number: int
    # uint8, on the host.
    content: Tensor


class CheckpointWriter:
    def __init__(self, device: torch.device, on_written: Callable[[list[dict]], None], on_failure: Callable[[Fault], None]):
        """Collective. The callbacks run in the writing thread; `on_written` gets name, size and hash of the files."""
        self._device = device
        self._on_written = on_written
        self._on_failure = on_failure
        # A group of its own, because the thread's communication must not mix with that of the training.
        self._group = dist.new_group(backend="gloo")
        # Kept for the next checkpoint: page-locking memory is slow.
        self._buffers: list[Tensor] = []
        self._thread: threading.Thread | None = None

    def start(self, files: list[StateFile], folder: str):
        """Collective. Returns when the state has been copied, so that the next step may change it."""
        self.wait()
        parts = list(own_parts(files, self._buffer))
        self._synchronize()
        self._thread = threading.Thread(target=self._run, args=(parts, files, folder), name="checkpoint")
        self._thread.start()

    def write(self, files: list[StateFile], folder: str):
        """Collective. Returns when everything is written; needs memory for one part only."""
        self.wait()
        buffer = self._buffer(0)
        self._report(self._write(own_parts(files, lambda _: buffer), folder), files)

    def wait(self):
        """Waits for the checkpoint in progress, if any."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, parts: list[Part], files: list[StateFile], folder: str):
        try:
            self._report(self._write(parts, folder), files)
        except BaseException as error:
            traceback.print_exc()
            self._on_failure(error if isinstance(error, Fault) else Fault("ENGINE_FAILED", repr(error)))

    def _write(self, parts: Iterable[Part], folder: str) -> dict[tuple[str, int], bytes]:
        """Returns the hashes of the parts."""
        hashes: dict[tuple[str, int], bytes] = {}
        opened: dict[str, int] = {}
        try:
            for part in parts:
                # Copies of a part that was not copied in advance may still be under way.
                self._synchronize()
                if part.file not in opened:
                    opened[part.file] = os.open(os.path.join(folder, part.file), os.O_WRONLY | os.O_CREAT, 0o666)
                content = memory_of(part.content)
                _write_at(opened[part.file], content, part.number * PART_BYTES)
                hashes[part.file, part.number] = hashlib.sha256(content).digest()
            for number in opened.values():
                os.fsync(number)
        except OSError as error:
            raise Fault("FILE_UNWRITABLE", f"the checkpoint cannot be written: {error}") from error
        finally:
            for number in opened.values():
                os.close(number)
        return hashes

    def _report(self, hashes: dict[tuple[str, int], bytes], files: list[StateFile]):
        """Reports the files once all ranks have written their parts."""
        gathered: list = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, hashes, self._group)
        merged = {key: value for each in gathered for key, value in each.items()}
        self._on_written([_record(file, merged) for file in files])

    def _buffer(self, index: int) -> Tensor:
        while len(self._buffers) <= index:
            self._buffers.append(torch.empty(PART_BYTES, dtype=torch.uint8, pin_memory=self._device.type == "cuda"))
        return self._buffers[index]

    def _synchronize(self):
        if self._device.type == "cuda" and threading.current_thread() is threading.main_thread():
            torch.cuda.synchronize(self._device)


def own_parts(files: list[StateFile], buffer_of: Callable[[int], Tensor]) -> Iterator[Part]:
    """Collective. The parts of this rank; the content of the n-th is in buffer n, and may still be being copied."""
    rank, world = dist.get_rank(), dist.get_world_size()
    taken = 0
    for file in files:
        at = 0
        buffer = None
        for content in file.contents():
            done = 0
            while done < content.numel():
                number, offset = divmod(at, PART_BYTES)
                count = min(PART_BYTES - offset, content.numel() - done)
                at += count
                if number % world == rank:
                    if buffer is None:
                        buffer = buffer_of(taken)
                        taken += 1
                    buffer[offset : offset + count].copy_(content[done : done + count], non_blocking=True)
                    if at % PART_BYTES == 0 or at == file.size:
                        yield Part(file.name, number, buffer[: offset + count])
                        buffer = None
                done += count


def _record(file: StateFile, hashes: dict[tuple[str, int], bytes]) -> dict:
    """Name, size and hash of a file. The hash of several parts is that of their hashes."""
    of_parts = [hashes[file.name, number] for number in range(-(-file.size // PART_BYTES))]
    if len(of_parts) == 1:
        return {"name": file.name, "bytes": file.size, "sha256": of_parts[0].hex()}
    sha256 = hashlib.sha256(b"".join(of_parts)).hexdigest()
    return {"name": file.name, "bytes": file.size, "sha256": sha256, "partBytes": PART_BYTES}


def _write_at(number: int, content: memoryview, offset: int):
    while len(content) > 0:
        written = os.pwrite(number, content, offset)
        content, offset = content[written:], offset + written
