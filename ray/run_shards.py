"""Driver of `penstock launch ray`: runs the tasks of a plan on a Ray cluster, then merges their outputs.

`python run_shards.py CONFIG`, with CONFIG as JSON: command, passes (its arguments in each pass), merge, tasks, cpus, memory, retries. Prints one JSON line for each task.
Ray retries tasks whose node or worker was lost, and those that can succeed next time; faulty input is not retried.
"""

import json
import os
import subprocess
import sys
import time

import ray

FAULTY_INPUT = 65
TRY_AGAIN = 75
RETRY_DELAY_S = 2


class TryAgain(Exception):
    """The command failed in a way that a retry can resolve."""


def run(command: list[str], environment: dict[str, str]) -> int:
    """Runs a command to its end and returns its exit code. Its standard input closes when this process is gone."""
    child = subprocess.Popen(
        command, env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    for line in child.stdout:
        print(line, end="", flush=True)
    code = child.wait()
    if code == TRY_AGAIN or code < 0 or code > 128:
        time.sleep(RETRY_DELAY_S)
        raise TryAgain(f"exit code {code}: {' '.join(command)}")
    return code


def result_of(task: ray.ObjectRef) -> int:
    """Exit code of a task; TRY_AGAIN once its retries are used up."""
    try:
        return ray.get(task)
    except (TryAgain, ray.exceptions.RayError) as error:
        print(error, flush=True)
        return TRY_AGAIN


def run_pass(remote: ray.remote_function.RemoteFunction, command: list[str], count: int) -> list[int]:
    """Runs all tasks of a pass and returns their exit codes."""
    running = {
        remote.remote(command, {"PENSTOCK_SHARD_INDEX": str(task), "PENSTOCK_SHARD_COUNT": str(count)}): task for task in range(count)
    }
    codes = []
    while running:
        done, _ = ray.wait(list(running))
        for task in done:
            codes.append(result_of(task))
            print(json.dumps({"task": running.pop(task), "code": codes[-1], "left": len(running)}), flush=True)
    return codes


def main(config: dict) -> int:
    ray.init(log_to_driver=True)
    resources = {"num_cpus": config["cpus"], **({"memory": config["memory"]} if config["memory"] else {})}
    remote = ray.remote(max_retries=config["retries"], retry_exceptions=[TryAgain], **resources)(run)
    for arguments in config["passes"]:
        codes = run_pass(remote, config["command"] + arguments, config["tasks"])
        if any(codes):
            return FAULTY_INPUT if FAULTY_INPUT in codes else next(code for code in codes if code)
    return result_of(remote.remote(config["merge"], {}))


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
