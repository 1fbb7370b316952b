"""A model as one file, at work: a folder of photos in, ids and vectors out. Needs no TensorFlow.

`python -m solesearch.cost.embedder_file FILE FOLDER [--out PLACE]`. The file is an ONNX network that takes
uint8 photos and holds its post-processing; its metadata say how photos are fitted to its input.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.embedding import Embedding, save_embedding
from solesearch.core.errors import InputError, exit_status, not_made_yet
from solesearch.core.paths import Paths
from solesearch.cost.onnx_model import OnnxModel
from solesearch.gan.embedder import in_batches
from solesearch.photos.catalog import PROBLEM_COLUMNS, CatalogSettings, examine_all
from solesearch.photos.photo import SUFFIXES
from solesearch.photos.sources import walk_photos

BEST_NAME = "best.onnx"
CARD = "solesearch"  # the key of the file's metadata under which the card stands, as JSON


def best_file(paths: Paths) -> Path:
    """Return where stage ladder writes the best model without labels; raises InputError where it has not."""
    if not (file := paths.ladder / BEST_NAME).is_file():
        raise not_made_yet(file, made_by="stage ladder")
    return file


class EmbedderFile:
    """An exported model, and how it wants photos to be read (`catalog`)."""

    def __init__(self, path: Path, *, threads: int = 0):
        """Load the file; `threads` 0: one a core. Raises InputError for what is none, or has no card."""
        if not path.is_file():
            raise InputError(f"{path}: no such file; `make export` writes one")
        self.model = OnnxModel(path, threads=threads or os.cpu_count() or 1)
        described = self.model.session.get_modelmeta().custom_metadata_map.get(CARD)
        if described is None:
            raise InputError(
                f"{path}: an ONNX network without a card of this project; `make export` writes one"
            )
        self.card: dict[str, Any] = json.loads(described)
        self.catalog = CatalogSettings(**self.card["catalog"])

    def embed(self, pixels: np.ndarray) -> np.ndarray:
        """Return vectors, float32 [n, d], of photos uint8 [n, h, w, 3] as `catalog` fits them."""
        return np.concatenate(in_batches(self.model.embed, pixels))

    def embed_folder(self, folder: Path) -> tuple[Embedding, pd.DataFrame]:
        """Return the vectors of all photos below a folder, ids their paths in it, and a table of problems.

        Raises InputError where there is no folder, or no photo in it that can be read.
        """
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; name the one that holds the photos")
        names, problems = walk_photos(folder)
        vectors = {}
        for name, photo in zip(names, examine_all(folder, names, self.catalog), strict=True):
            problems += [(name, *remark) for remark in photo.remarks]
            if photo.pixels is not None:
                vectors[name] = self.model.embed(photo.pixels[None])[0]
        if not vectors:
            first = f" ({problems[0][0]}: {problems[0][1]})" if problems else ""
            raise InputError(f"{folder}: no photo that can be read{first}; wanted are {', '.join(SUFFIXES)}")
        table = pd.DataFrame(sorted(problems), columns=list(PROBLEM_COLUMNS))
        return Embedding(list(vectors), np.stack(list(vectors.values()))), table


def embed_to(path: Path, folder: Path, place: Path) -> str:
    """Embed a folder into `place`/<model>.npy, .ids.txt and .problems.csv; return what to say."""
    model = EmbedderFile(path)
    embedding, problems = model.embed_folder(folder)
    save_embedding(place, path.stem, embedding)
    files.write_table(place / f"{path.stem}.problems.csv", problems)
    remarks = f"; {len(problems)} remarks in {path.stem}.problems.csv" if len(problems) else ""
    rows, values = embedding.vectors.shape
    return (
        f"{place / path.stem}.npy: {rows} photos, {values} numbers each, ids in {path.stem}.ids.txt{remarks}"
    )


def main() -> int:
    """Embed a folder of photos with an exported model (`make export`)."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.cost.embedder_file", description=main.__doc__)
    parser.add_argument("file", type=Path, help="the exported model, say runs/sample/export/best.onnx")
    parser.add_argument("folder", type=Path, help="the photos, in folders or not")
    parser.add_argument("--out", type=Path, default=Path(), help="where ids and vectors go (here)")
    given = parser.parse_args()
    return exit_status(lambda: print(embed_to(given.file, given.folder, given.out)))


if __name__ == "__main__":
    sys.exit(main())
