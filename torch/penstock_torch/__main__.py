"""One rank: `torchrun ... -m penstock_torch --feed SOCKET`. Joins the process group, then executes the feeder's commands."""

import argparse
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from . import checkpoint, initial_weights, parallel
from .checkpoint_writer import CheckpointWriter
from .engine import Engine, MicroBatch
from .faults import Fault
from .feed import Feed, Frame, memory_of
from .feeder import Feeder, ignore_stop_signals
from .garbage import StepwiseCollection


@dataclass
class PendingResult:
    """Result of a step that is being copied from the device."""

    figures: Tensor
    ready: "torch.cuda.Event | None"
    # Steps taken after this one.
    steps_taken: int

    def done(self) -> bool:
        return self.ready is None or self.ready.query()


class Rank:
    """Executes the feeder's commands in order. A step may be answered after the next one has started, so that a GPU
    always has work queued when it finishes a step."""

    def __init__(self, feed: Feed, device: torch.device):
        self._feed = feed
        self._device = device
        self._engine: Engine | None = None
        self._garbage: StepwiseCollection | None = None
        self._writer = CheckpointWriter(device, self._report_checkpoint, self._end_with)
        self._pending: PendingResult | None = None
        self._waited = 0.0
        self._consensus = parallel.FeederConsensus()

    def run(self):
        commands = {
            "open": self._open, "attention": self._attention, "agree": self._agree, "initialize": self._initialize, "weights": self._weights,
            "load": self._load, "save": self._save, "evaluate": self._evaluate, "logits": self._logits,
        }
        while True:
            frame = self._next_frame()
            kind = frame.header["kind"]
            accepted = self._consensus.agree(frame)
            if kind == "step" and accepted:
                self._step(frame)
                continue
            self._answer_step()
            if not accepted:
                self._feed.send({"kind": "done", "skipped": True})
                continue
            if kind == "close":
                self._writer.wait()
                return
            answer, payload = commands[kind](frame)
            self._feed.send({"kind": "done", **answer}, payload)

    def _next_frame(self) -> Frame:
        while self._pending is not None and self._feed.empty():
            if self._pending.done():
                self._answer_step()
            else:
                time.sleep(0.0002)
        started = time.perf_counter()
        frame = self._feed.next()
        # The device is idle here: with a step in progress there would already be a frame.
        self._waited += time.perf_counter() - started
        return frame

    def _step(self, frame: Frame):
        header = frame.header
        figures = self._engine.step(self._batches(frame), header["counted"], header["learning_rate"], header.get("limits"))
        self._answer_step()
        self._pending = self._leave_device(figures)
        if self._pending.ready is None:
            self._answer_step()
        self._garbage.after_step()

    def _leave_device(self, figures: Tensor) -> PendingResult:
        if self._device.type != "cuda":
            return PendingResult(figures, None, self._engine.steps_taken)
        here = torch.empty(figures.shape, dtype=figures.dtype, pin_memory=True)
        here.copy_(figures, non_blocking=True)
        ready = torch.cuda.Event()
        ready.record()
        return PendingResult(here, ready, self._engine.steps_taken)

    def _answer_step(self):
        if self._pending is None:
            return
        if self._pending.ready is not None:
            self._pending.ready.synchronize()
        loss, norm = self._pending.figures.tolist()
        steps_taken = self._pending.steps_taken
        self._pending = None
        figures = {"loss": loss, "gradientNorm": norm, "stepsTaken": steps_taken, "memory": parallel.peak_memory(self._device)}
        self._feed.send({"kind": "done", **figures, "waited": self._waited})
        self._waited = 0.0

    def _batches(self, frame: Frame) -> list[MicroBatch]:
        """Micro batches of a frame: inputs, targets and any document starts of each, with shapes and row weights from the
        header."""
        numbers = frame.numbers.to(self._device, non_blocking=True).long()
        weights = frame.header.get("weights")
        restart_positions = frame.header.get("restartPositions")
        arrays = 2 if restart_positions is None else 3
        batches, at = [], 0
        for index, (rows, columns) in enumerate(frame.header["shapes"]):
            size = rows * columns
            here = slice(at, at + arrays * size)
            inputs, targets = numbers[here].view(arrays, rows, columns)[:2]
            documents = None
            if restart_positions is not None:
                starts = frame.numbers[here].view(arrays, rows, columns)[2]
                documents = self._engine.documents_of(starts, restart_positions)
            of_rows = None
            if weights is not None:
                # Page-locked, because copies from pageable memory wait for the previous step.
                pinned = torch.tensor(weights[index], dtype=torch.float32, pin_memory=self._device.type == "cuda")
                of_rows = pinned.to(self._device, non_blocking=True)
            batches.append(MicroBatch(inputs, targets, of_rows, documents))
            at += arrays * size
        return batches

    def _open(self, frame: Frame):
        header = frame.header
        # Ranks with different meshes would deadlock.
        parallel.require_agreement({key: header["torch"][key] for key in parallel.SHARED_OPTIONS})
        self._engine = Engine(
            header["model"], header["optimizer"], header["gradientClip"], header["torch"], header["weights"],
            self._device,
        )
        self._garbage = StepwiseCollection()
        return {}, b""

    def _attention(self, frame: Frame):
        return {"warning": self._engine.attention_warning(frame.header["hasDocuments"])}, b""

    def _agree(self, frame: Frame):
        parallel.require_agreement(frame.header["facts"])
        return {}, b""

    def _initialize(self, frame: Frame):
        initial_weights.initialize(self._engine, int(frame.header["seed"]), frame.header["weights"])
        return {}, b""

    def _weights(self, frame: Frame):
        checkpoint.load_weights(self._engine, Path(frame.header["file"]))
        return {}, b""

    def _load(self, frame: Frame):
        checkpoint.load(self._engine, frame.header["folder"])
        return {"stepsTaken": self._engine.steps_taken}, b""

    def _save(self, frame: Frame):
        """Answered as soon as the next step may start; `written` follows, or precedes the answer, when all ranks have written."""
        save = self._writer.start if frame.header["isAsync"] else self._writer.write
        save(checkpoint.state_files(self._engine), frame.header["folder"])
        return {}, b""

    def _report_checkpoint(self, files: list[dict]):
        self._feed.send({"kind": "written", "files": files if dist.get_rank() == 0 else []})

    def _end_with(self, fault: Fault):
        report(self._feed, fault)
        os._exit(1)

    def _evaluate(self, frame: Frame):
        return {"lossSum": self._engine.evaluate(self._batches(frame)).item()}, b""

    def _logits(self, frame: Frame):
        ids = frame.numbers.to(self._device).long().unsqueeze(0)
        values = self._engine.logits(ids).cpu().contiguous()
        return {}, bytes(memory_of(values)) if dist.get_rank() == 0 else b""


def main():
    parser = argparse.ArgumentParser(
        prog="torchrun ... -m penstock_torch",
        description="One rank. Without --feed it starts `penstock train` with the remaining arguments.",
    )
    parser.add_argument("--feed", help="socket of the feeder on this machine, if it already runs")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    arguments, others = parser.parse_known_args()
    # Stopping is the feeder's decision: it saves a checkpoint first, then closes the socket. Until there is a feeder,
    # SIGTERM ends the process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if arguments.feed is not None:
        ignore_stop_signals()
    feed = feeder = None
    code = 0
    try:
        if arguments.feed is not None:
            feed = Feed(arguments.feed)
        device = parallel.join(arguments.device)
        if feed is None:
            feeder = Feeder([*others, "--device", arguments.device])
            feed = Feed(feeder.path)
        serve(feed, device)
        feed.close()
        dist.destroy_process_group()
        if feeder is not None:
            code = feeder.end()
    except BaseException as error:
        traceback.print_exc()
        code = 1
        if feed is not None:
            report(feed, error if isinstance(error, Fault) else Fault("ENGINE_FAILED", repr(error)))
        if feeder is not None:
            feeder.remove_folder()
    sys.stdout.flush()
    sys.stderr.flush()
    # Skips the interpreter's shutdown, which takes longer than a small run and may hang in a process group whose peers
    # are gone.
    os._exit(code)


def report(feed: Feed, fault: Fault):
    feed.send({"kind": "failed", "code": fault.code, "message": str(fault)})


def serve(feed: Feed, device: torch.device):
    feed.prepare(device)
    feed.send({
        "kind": "hello", "rank": dist.get_rank(), "worldSize": dist.get_world_size(),
        "localWorldSize": int(os.environ["LOCAL_WORLD_SIZE"]),
        "device": device.type,
        "deviceName": torch.cuda.get_device_name(device) if device.type == "cuda" else "",
    })
    Rank(feed, device).run()


main()
