"""Networks in files: a training's kept discriminators, and Keras variables as arrays (no pickle)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from solesearch.core import files
from solesearch.core.errors import InputError


def checkpoint_file(folder: Path, step: int) -> Path:
    """Return where the discriminator's weights after `step` updates lie; step 0 is untrained."""
    return folder / f"discriminator-{step:06d}.npz"


def checkpoint_steps(folder: Path) -> list[int]:
    """Return the steps whose discriminator was kept, ascending."""
    return sorted(int(path.stem.rpartition("-")[2]) for path in folder.glob("discriminator-*.npz"))


def save_variables(path: Path, variables: list, **extra: np.ndarray) -> None:
    """Write Keras variables in their order, with shape and dtype, atomically."""
    arrays = {f"{number:04d}": variable.numpy() for number, variable in enumerate(variables)}
    files.write_arrays(path, {**arrays, **extra})


def load_variables(path: Path, variables: list) -> None:
    """Assign a file written by `save_variables`; raises InputError when number or shapes differ."""
    arrays = files.read_arrays(path)
    shapes = [arrays[name].shape for name in sorted(arrays)]
    if shapes != [tuple(variable.shape) for variable in variables]:
        raise InputError(
            f"{path}: made for another network; delete it or restore its settings in params.yaml"
        )
    for name, variable in zip(sorted(arrays), variables, strict=True):
        variable.assign(arrays[name])
