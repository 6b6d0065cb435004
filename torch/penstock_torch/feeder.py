"""Starts Node from the ranks, for schedulers that start torchrun themselves, on one or several machines.

The first rank of each machine starts `penstock train` with its own arguments and sends the others the socket's path. When
the ranks are restarted, so is Node, which resumes from the newest checkpoint.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import torch.distributed as dist

from .faults import Fault

_START_SECONDS = 120

# Signals that stop a run; Node saves a checkpoint first.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Feeder:
    def __init__(self, arguments: list[str]):
        """Collective: the ranks exchange the paths of the sockets."""
        self._process: subprocess.Popen | None = None
        self._folder: str | None = None
        if os.environ["LOCAL_RANK"] == "0":
            self._folder = tempfile.mkdtemp(prefix="penstock-")
        folders: list = [None] * dist.get_world_size()
        dist.all_gather_object(folders, (os.environ["GROUP_RANK"], self._folder))
        folder = next(path for group, path in folders if group == os.environ["GROUP_RANK"] and path is not None)
        self.path = os.path.join(folder, "feed")
        if self._folder is not None:
            self._start(arguments)
        else:
            # The first rank of the machine forwards them.
            ignore_stop_signals()
        try:
            self._wait_for_socket()
        except BaseException:
            self.remove_folder()
            raise

    def _start(self, arguments: list[str]):
        command = [*_penstock(), "train", *arguments, "--engine", "torch"]
        # In a session of its own: torchrun signals the process group of each rank, and a second signal would end Node
        # before it has saved.
        environment = {**os.environ, "PENSTOCK_FEED": self.path}
        self._process = subprocess.Popen(command, env=environment, start_new_session=True)
        for number in STOP_SIGNALS:
            signal.signal(number, lambda number, _: self._process.send_signal(number))

    def _wait_for_socket(self):
        deadline = time.monotonic() + _START_SECONDS
        while not os.path.exists(self.path):
            if self._process is not None and self._process.poll() is not None:
                raise Fault("ENGINE_FAILED", f"penstock train ended with exit code {self._process.returncode}")
            if time.monotonic() > deadline:
                raise Fault("ENGINE_FAILED", f"penstock train did not open its socket in {_START_SECONDS} s")
            time.sleep(0.05)

    def end(self) -> int:
        """Waits for Node and returns its exit code; 0 if Node was stopped by a signal: otherwise torchrun would restart,
        and the agents of other machines would wait for this one."""
        code = 0 if self._process is None else self._process.wait()
        if code - 128 in STOP_SIGNALS:
            code = 0
        self.remove_folder()
        return code

    def remove_folder(self):
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def ignore_stop_signals():
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _penstock() -> list[str]:
    """The command of this installation, or the one on PATH."""
    installed = Path(__file__).parents[2] / "dist" / "cli" / "main.js"
    return ["node", str(installed)] if installed.exists() else ["penstock"]
