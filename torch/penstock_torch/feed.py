"""The rank's end of the feed: one Unix socket to the Node process of its machine, and frames over it.

| bytes | meaning                                              |
| 4     | H, the length of the header, little-endian           |
| H     | header: a MessagePack map; `bytes` = P, 0 if missing |
| P     | payload: raw little-endian numbers                   |

A thread reads ahead while the device works, into page-locked memory. The sender has at most two unanswered payloads in
flight, so two alternating buffers are enough. When the socket closes, the feeder is gone, and the process exits
immediately.
"""

import ctypes
import os
import queue
import socket
import struct
import sys
import threading
from dataclasses import dataclass

import torch

from . import hang_report, msgpack

_MAX_HEADER_BYTES = 1 << 26


@dataclass
class Frame:
    header: dict
    # int32 [payload bytes / 4]; valid until the frame is answered.
    numbers: torch.Tensor


class Feed:
    def __init__(self, path: str):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._frames: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._device: torch.device | None = None
        self._buffers: list[_Buffer] = []
        # Reads from the start, because the feeder may ask for a report while the ranks wait for each other.
        threading.Thread(target=self._read, name="feed", daemon=True).start()

    def prepare(self, device: torch.device):
        """Lets payloads be received; for a GPU into page-locked memory, so that copies to it are asynchronous. The feeder
        sends none before the first frame of this rank."""
        self._device = device
        pinned = device.type == "cuda"
        self._buffers = [_Buffer(pinned), _Buffer(pinned)]

    def next(self) -> Frame:
        return self._frames.get()

    def empty(self) -> bool:
        return self._frames.empty()

    def send(self, header: dict, payload: bytes | memoryview = b""):
        encoded = msgpack.pack({**header, "bytes": len(payload)})
        with self._sending:
            self._socket.sendall(b"".join((struct.pack("<I", len(encoded)), encoded, payload)))

    def close(self):
        self._socket.close()

    def _read(self):
        try:
            while True:
                (length,) = struct.unpack("<I", self._exactly(4))
                if length > _MAX_HEADER_BYTES:
                    raise ValueError(f"a header of {length} bytes")
                header = msgpack.unpack(self._exactly(length))
                if header["kind"] == "report":
                    # Answered here, because the main thread may be busy or wait for other ranks.
                    self.send({"kind": "report", "files": hang_report.write(header["folder"])})
                    continue
                numbers = torch.empty(0, dtype=torch.int32)
                if header.get("bytes", 0) > 0:
                    if self._device.type == "cuda":
                        # A new thread uses the first GPU; page-locking would allocate memory on another rank's device.
                        torch.cuda.set_device(self._device)
                    self._buffers.reverse()
                    numbers = self._buffers[0].receive(self._socket, header["bytes"])
                self._frames.put(Frame(header, numbers))
                if header["kind"] == "close":
                    return
        except EOFError:
            os._exit(70)
        except BaseException as error:  # A failed thread must not leave the process waiting for frames.
            print(f"penstock_torch: the feed cannot be read: {error!r}", file=sys.stderr, flush=True)
            os._exit(70)

    def _exactly(self, length: int) -> bytes:
        content = bytearray(length)
        _receive_into(self._socket, memoryview(content))
        return bytes(content)


class _Buffer:
    """Memory for one payload; grows to the largest one received."""

    def __init__(self, pinned: bool):
        self._pinned = pinned
        self._grow(1 << 16)

    def _grow(self, length: int):
        self._bytes = torch.empty(length, dtype=torch.uint8, pin_memory=self._pinned)
        self._view = memory_of(self._bytes)

    def receive(self, source: socket.socket, length: int) -> torch.Tensor:
        if length > len(self._view):
            self._grow(length)
        _receive_into(source, self._view[:length])
        return self._bytes[:length].view(torch.int32)


def memory_of(tensor: torch.Tensor) -> memoryview:
    """Bytes of a contiguous CPU tensor, which must outlive the view. Works without NumPy."""
    length = tensor.numel() * tensor.element_size()
    return memoryview((ctypes.c_uint8 * length).from_address(tensor.data_ptr())).cast("B")


def _receive_into(source: socket.socket, view: memoryview):
    while len(view) > 0:
        count = source.recv_into(view)
        if count == 0:
            raise EOFError
        view = view[count:]
