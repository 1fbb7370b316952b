"""Embeddings: vectors of photos, whoever made them, kept as .npy beside the photos' ids (no pickle)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.errors import InputError, not_made_yet


@dataclass(frozen=True)
class Embedding:
    """Vectors float32 [n, d] of photos with the given ids [n]; row i belongs to ids[i]."""

    ids: list[str]
    vectors: np.ndarray

    def __post_init__(self) -> None:
        """Raise InputError when ids and vectors do not fit together."""
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32:
            raise InputError(f"vectors must be float32 [n, d]; got {self.vectors.dtype} {self.vectors.shape}")
        if len(self.ids) != len(self.vectors):
            raise InputError(f"{len(self.ids)} ids for {len(self.vectors)} vectors")
        if len(set(self.ids)) != len(self.ids):
            raise InputError("an id occurs twice in this embedding")

    def of(self, ids: pd.Series | list[str]) -> np.ndarray:
        """Return the vectors of `ids`, in their order; raises InputError for an unknown id."""
        row = {name: number for number, name in enumerate(self.ids)}
        unknown = [name for name in ids if name not in row]
        if unknown:
            raise InputError(f"{unknown[0]} has no embedding ({len(unknown)} in all); run stage embed again")
        return self.vectors[[row[name] for name in ids]]


def save_embedding(folder: Path, name: str, embedding: Embedding) -> None:
    """Write <name>.npy and <name>.ids.txt (one id a line); the ids go last, so a pair is always whole."""
    if any("\n" in photo for photo in embedding.ids):
        raise InputError("an id holds a line break; rename that photo")
    ids_file = folder / f"{name}.ids.txt"
    ids_file.unlink(missing_ok=True)
    files.write_array(folder / f"{name}.npy", embedding.vectors)
    files.write_text(ids_file, "".join(f"{photo}\n" for photo in embedding.ids))


def load_embedding(folder: Path, name: str) -> Embedding:
    """Read what `save_embedding` wrote; raises InputError when a file is missing or damaged."""
    ids_file = folder / f"{name}.ids.txt"
    if not ids_file.is_file():
        raise not_made_yet(ids_file, made_by="stage embed")
    vectors = files.read_array(folder / f"{name}.npy", made_by="stage embed")
    return Embedding(ids_file.read_text(encoding="utf-8").splitlines(), vectors)


def embedding_name(model: str, seed: int) -> str:
    """Return the file name of a model's embedding: `infogan-seed-1`; seed 0 means that nothing was drawn."""
    return model if seed == 0 else f"{model}-seed-{seed}"
