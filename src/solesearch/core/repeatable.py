"""Trainings that can be repeated: which photos a step sees, and operations in one fixed order."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

import numpy as np

NVIDIA = Path("/dev/nvidia0")


def batch_rows(photos: int, *, size: int, seed: int, first: int, last: int) -> Iterator[np.ndarray]:
    """Yield the rows, int64 [size] ascending, of the batch of each step first..last-1.

    Each epoch is a new permutation drawn from (seed, epoch); the incomplete batch at its end is left out.
    Batch k depends on nothing but k, so a resumed run sees what the uninterrupted one would have seen.
    """
    per_epoch = photos // size
    for step in range(first, last):
        epoch, place = divmod(step, per_epoch)
        if place == 0 or step == first:
            order = np.random.default_rng([seed, epoch]).permutation(photos)
        yield np.sort(order[place * size : (place + 1) * size])  # sorted: one sweep over a mapped file


def settle_tensorflow(threads: int) -> None:
    """Make this process's TensorFlow repeatable, on so many threads; before anything is computed with it.

    One thread a training wastes less than many threads on one small network, and makes the numbers
    independent of the number of cores. With a GPU threads only hand out work, and several GPUs that wait for
    each other must not share one.
    """
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # it counts the step of each new training as traced once too often
    tf.config.experimental.enable_op_determinism()
    if has_gpu():
        return
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


@contextlib.contextmanager
def repeatable_execution() -> Iterator[None]:
    """Run compiled steps operation by operation in one fixed order, so that equal runs give equal bytes.

    Op determinism alone does not: TensorFlow's memory optimiser turns a sum of three gradients into additions
    to a temporary variable in the order in which they become ready, and after about 100 steps the executor
    starts to reorder operations by their measured cost. So both stay out on a processor, where the step even
    takes less time without them (0.85 at batch 32 on two cores, two seeds side by side). With a GPU nothing
    changes: there they pay, and several devices need the parallel executor.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        yield
        return
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        with tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR"):
            yield
    finally:
        tf.config.optimizer.set_experimental_options(
            {"disable_meta_optimizer": before.get("disable_meta_optimizer", False)}
        )


def has_gpu() -> bool:
    """Tell whether there is an NVIDIA GPU here that TensorFlow, as it is installed and told, can use.

    Asking TensorFlow would take the GPU from the children.
    """
    return NVIDIA.exists() and not gpus_hidden() and not any(distributions(name="tensorflow-cpu"))


def gpus_hidden() -> bool:
    """Tell whether the user has hidden every GPU from CUDA."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")


def trainings_at_once(threads: int) -> int:
    """Return how many trainings run side by side: one on a GPU, else as many as the cores allow."""
    return 1 if has_gpu() else max(1, (os.cpu_count() or 1) // threads)
