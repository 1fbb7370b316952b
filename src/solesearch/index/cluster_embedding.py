"""Embedding a catalogue too large for one process, with Ray Data: files in, Parquet files of vectors out.

    python -m solesearch.index.cluster_embedding PROFILE

Runs on the cores of this machine, or on a cluster by its address. Ray is an optional extra:
pip install '.[cluster]'. Reading the vectors needs neither Ray nor TensorFlow.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths
from solesearch.evaluation.study import Study, read_chosen
from solesearch.photos import catalog
from solesearch.photos.originals import photo_folder
from solesearch.photos.photo import load_pixels
from solesearch.photos.photo_table import read_photos
from solesearch.retrieval.controls import CONTROLS, control_features

if TYPE_CHECKING:
    import pyarrow

DISCRIMINATOR = "discriminator"
Embed = Callable[[np.ndarray], np.ndarray]  # uint8 [n, h, w, 3] -> float32 [n, d]


class FileEmbedder:
    """A Ray worker: makes its network once, then turns ids into vectors, a batch at a time."""

    def __init__(self, photos: Path, load: Callable[[], Embed], **decoding: Any):
        """Take the folder below which ids are paths, and how photos are decoded (`photo.load_pixels`)."""
        self.photos, self.embed, self.decoding = photos, load(), decoding

    def __call__(self, batch: dict[str, np.ndarray]) -> pyarrow.Table:
        """Return the columns id and vector for batch["id"], str [n]."""
        import pyarrow

        pixels = np.stack([self._decoded(self.photos / name) for name in batch["id"]])
        vectors = np.ascontiguousarray(self.embed(pixels), np.float32)
        column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.ravel()), vectors.shape[1])
        return pyarrow.table({"id": pyarrow.array(batch["id"].tolist()), "vector": column})

    def _decoded(self, path: Path) -> np.ndarray:
        try:
            return load_pixels(path, **self.decoding)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(f"{path}: unreadable ({error}); take it out of the list") from error


def embed_files(
    ids: list[str],
    folder: Path,
    *,
    worker: dict[str, Any],
    batch: int,
    workers: int,
    address: str | None = None,
) -> None:
    """Write the vectors of photos `ids` to Parquet files in `folder`, with Ray Data.

    `worker`: what each `FileEmbedder` is made with. `address`: a Ray cluster's ("auto", "ray://host:10001"),
    which must see the photos and `folder`; without, Ray starts here. What `folder` held is replaced when all
    is written. Raises InputError when Ray is not installed, or for a photo that a worker could not read.
    """
    if find_spec("ray") is None:
        raise InputError("Ray is not installed; pip install '.[cluster]'")
    import ray

    here = {"num_cpus": workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(address=address, log_to_driver=False, **({} if address else here))
    except Exception as error:  # a node that does not come up is a plain Exception
        raise InputError(f"Ray did not start: {str(error).splitlines()[0]}; try again") from error
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        photos = ray.data.from_items([{"id": photo} for photo in ids])
        vectors = photos.map_batches(
            FileEmbedder, fn_constructor_kwargs=worker, batch_size=batch, concurrency=workers
        )
        vectors.write_parquet(str(partial.resolve()))
    except ray.exceptions.RayError as error:
        causes = [
            line for line in str(error).splitlines() if "Error: " in line
        ]  # the worker's own, among Ray's
        raise InputError(f"embedding stopped: {causes[-1] if causes else error}") from error
    finally:
        ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def read_vectors(folder: Path) -> Iterator[Embedding]:
    """Give the embedding of each file, so that an index is filled by `build` with the first and `add`."""
    from pyarrow import parquet

    if not (found := sorted(folder.glob("*.parquet"))):
        raise InputError(
            f"{folder}: holds no vectors; python -m solesearch.index.cluster_embedding writes them"
        )
    for path in found:
        table = parquet.read_table(path)
        vectors = table["vector"].combine_chunks()
        yield Embedding(table["id"].to_pylist(), np.asarray(vectors.flatten()).reshape(len(vectors), -1))


# --- a profile's catalogue -------------------------------------------------------------------------------


def features_of(profile: str, features: str) -> Embed:
    """Return what embeds: a control by its name, or the first seed's chosen discriminator."""
    if features != DISCRIMINATOR:
        return partial(control_features, features)
    study = Study.open(profile)
    seed, step = next(iter(read_chosen(study.paths).items()))
    return study.discriminator(seed=seed, step=step).embed


def embed_profile(profile: str, *, features: str, batch: int, workers: int, address: str | None) -> Path:
    """Embed every photo of a profile's catalogue; return the folder of the Parquet files."""
    if features not in (DISCRIMINATOR, *CONTROLS):
        raise InputError(f"features {features!r}: there are {DISCRIMINATOR}, {', '.join(CONTROLS)}")
    paths, settings = Paths.of(profile), catalog.CatalogSettings.load(profile)
    worker = {
        "photos": photo_folder(paths, settings).resolve(),
        "load": partial(features_of, profile, features),
        "size": settings.image_size,
        "fit": settings.fit,
    }
    folder = paths.run / "vectors" / features
    ids = read_photos(paths)["id"].tolist()
    embed_files(ids, folder, worker=worker, batch=batch, workers=workers, address=address)
    return folder


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
