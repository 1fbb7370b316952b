"""Embedding a catalogue too large for one process, with Ray Data: files in, Parquet files of vectors out.

    python -m solesearch.index.cluster_embedding PROFILE

Runs on the cores of this machine, or on a cluster by its address. Ray is an optional extra:
pip install '.[cluster]'. `pandas.read_parquet` reads the vectors, an id and its vector a row.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.evaluation.study import Study, read_chosen
from solesearch.photos.catalog import CatalogSettings, photo_folder
from solesearch.photos.photo import decode_photos
from solesearch.photos.photo_table import read_photos
from solesearch.retrieval.controls import CONTROLS, control_features

if TYPE_CHECKING:
    import pyarrow

DISCRIMINATOR = "discriminator"


class PhotoEmbedder:
    """A Ray worker: opens a profile once, then turns ids into vectors, a batch at a time."""

    def __init__(self, profile: str, features: str):
        """Take what embeds: the first seed's chosen discriminator, or a control by its name."""
        paths, settings = Paths.of(profile), CatalogSettings.load(profile)
        decoding = {"folder": photo_folder(paths, settings), "size": settings.image_size, "fit": settings.fit}
        self.decode: Callable[..., np.ndarray] = partial(decode_photos, **decoding)
        self.embed: Callable[[np.ndarray], np.ndarray] = partial(control_features, features)
        if features == DISCRIMINATOR:
            seed, step = next(iter(read_chosen(paths).items()))
            self.embed = Study.open(profile).discriminator(seed=seed, step=step).embed

    def __call__(self, batch: dict[str, np.ndarray]) -> pyarrow.Table:
        """Return the columns id and vector (float32 [d]) for batch["id"], str [n]."""
        import pyarrow

        vectors = np.ascontiguousarray(self.embed(self.decode(batch["id"])), np.float32)
        column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), vectors.shape[1])
        return pyarrow.table({"id": pyarrow.array(batch["id"].tolist()), "vector": column})


def embed_profile(
    profile: str, *, features: str, batch: int, workers: int, address: str | None = None
) -> Path:
    """Embed every photo of a profile's catalogue; return the folder of the Parquet files.

    `address`: a Ray cluster's ("auto", "ray://host:10001"), which must see the project's folder; without, Ray
    starts here. What the folder held is replaced when all is written. Raises InputError for unknown features,
    without Ray or the photographs, or for a photo that a worker could not read.
    """
    if features not in (DISCRIMINATOR, *CONTROLS):
        raise InputError(f"features {features!r}: there are {DISCRIMINATOR}, {', '.join(CONTROLS)}")
    if find_spec("ray") is None:
        raise InputError("Ray is not installed; pip install '.[cluster]'")
    import ray

    paths = Paths.of(profile)
    folder, unfinished = paths.run / "vectors" / features, paths.run / "vectors" / f".{features}.partial"
    photos = [{"id": photo} for photo in read_photos(paths)["id"]]
    photo_folder(paths, CatalogSettings.load(profile))  # gone: said here, before Ray starts its workers
    here = {"num_cpus": workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(address=address, log_to_driver=False, **({} if address else here))
    except Exception as error:  # a node that does not come up is a plain Exception
        raise InputError(f"Ray did not start: {str(error).splitlines()[0]}; try again") from error
    shutil.rmtree(unfinished, ignore_errors=True)
    options = {"fn_constructor_args": (profile, features), "batch_size": batch, "concurrency": workers}
    try:
        ray.data.from_items(photos).map_batches(PhotoEmbedder, **options).write_parquet(str(unfinished))
    except ray.exceptions.RayError as error:
        # the worker's own line, among Ray's
        causes = [line for line in str(error).splitlines() if "Error: " in line]
        raise InputError(f"embedding stopped: {causes[-1] if causes else error}") from error
    finally:
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
    return unfinished.rename(folder)


def main() -> int:
    """Embed a profile's catalogue with Ray."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("--features", default=DISCRIMINATOR, help=f"{DISCRIMINATOR}, {', '.join(CONTROLS)}")
    parser.add_argument("--batch", type=int, default=1000, help="photos at a time")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--address", help="a Ray cluster's address; default: this machine")
    return exit_status(lambda: print(embed_profile(**vars(parser.parse_args()))))


if __name__ == "__main__":
    sys.exit(main())
