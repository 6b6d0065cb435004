"""Garbage collection at the same steps on all ranks: otherwise each rank would pause at another time, and all wait for it."""

import gc

_STEPS_BETWEEN = 50


class StepwiseCollection:
    """Replaces Python's own schedule, which depends on the number of objects allocated."""

    def __init__(self):
        self._steps = 0
        gc.collect()
        # The model and the modules loaded so far live until the end.
        gc.freeze()
        gc.disable()

    def after_step(self):
        self._steps += 1
        if self._steps % _STEPS_BETWEEN == 0:
            gc.collect(1)
