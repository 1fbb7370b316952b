"""Embedding a catalogue too large for one process, with Ray Data: files in, Parquet shards of vectors out.

Runs on the cores of this machine, or on a cluster by its address. A shard is written under another name
first, so one that is there is whole: a killed run goes on with those that are missing and repeats none.
Ray is an optional extra: pip install '.[cluster]'. Reading the shards needs neither Ray nor TensorFlow.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from solesearch.core import files
from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError, exit_status
from solesearch.core.provenance import code_digest
from solesearch.photos.photo import FITS, load_pixels
from solesearch.photos.photo_table import read_photos
from solesearch.retrieval.controls import CONTROLS, control_features

DISCRIMINATOR = "discriminator"
PLAN = "plan.json"  # what the shards of a folder were made from; a folder of other settings is refused


@dataclass(frozen=True)
class EmbeddingJob:
    """What is embedded and how; the same job gives the same shards on any number of workers."""

    photos: str  # folder below which the ids are paths; every worker must see it
    ids: list[str]
    features: str  # a control's name, or discriminator
    size: tuple[int, int]  # height, width in pixels
    fit: str  # as in photo.fit_to
    shard_photos: int
    profile: str = ""  # discriminator: whose gan section describes the network
    weights: str = ""  # discriminator: its checkpoint, .npz
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise InputError for a job that cannot be done."""
        known = (*CONTROLS, DISCRIMINATOR)
        rules = {
            f"features must be one of {', '.join(known)}; got {self.features!r}": self.features in known,
            "shard_photos must be at least 1": self.shard_photos >= 1,
            "there are no photos to embed": bool(self.ids),
            "an id occurs twice": len(set(self.ids)) == len(self.ids),
            f"fit must be one of {', '.join(FITS)}": self.fit in FITS,
            f"{self.photos}: no such folder": Path(self.photos).is_dir(),
            f"{self.weights or 'weights'}: no such file; train first, or name a control as features": (
                self.features != DISCRIMINATOR or Path(self.weights).is_file()
            ),
        }
        for rule, holds in rules.items():
            if not holds:
                raise InputError(rule)

    @property
    def shards(self) -> list[list[str]]:
        """The ids of each shard, in order."""
        return [
            self.ids[start : start + self.shard_photos]
            for start in range(0, len(self.ids), self.shard_photos)
        ]

    def plan(self) -> dict[str, Any]:
        """Return what decides the shards' content, for the folder's record."""
        ids = hashlib.sha256("\n".join(self.ids).encode()).hexdigest()
        weights = files.digest(Path(self.weights)) if self.weights else ""
        facts = asdict(self) | {"ids": ids, "weights": weights, "size": list(self.size)}
        facts |= {"code": code_digest("solesearch.index.cluster_embedding")}
        return {name: value for name, value in facts.items() if name != "photos"} | {"count": len(self.ids)}


def shard_file(folder: Path, number: int) -> Path:
    """Return where shard `number` lies."""
    return folder / f"shard-{number:06d}.parquet"


class ShardWriter:
    """A worker: keeps its network, and turns the numbers of shards into their files."""

    def __init__(self, job: EmbeddingJob, folder: str):
        """Build the network once, where there is one."""
        self.job, self.folder, self.shards = job, Path(folder), job.shards
        self._network = _network(job) if job.features == DISCRIMINATOR else None

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Embed and write the shards batch["shard"] [b]; return their numbers and their photos' counts."""
        counts = [self._write(int(number)) for number in batch["shard"]]
        return {"shard": batch["shard"], "photos": np.array(counts)}

    def _write(self, number: int) -> int:
        import pyarrow
        from pyarrow import parquet

        ids = self.shards[number]
        pixels = np.stack([self._decoded(photo) for photo in ids])
        vectors = (
            self._network.embed(pixels) if self._network else control_features(self.job.features, pixels)
        )
        flat = pyarrow.array(np.ascontiguousarray(vectors, np.float32).ravel())
        column = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
        with files.replacing(shard_file(self.folder, number)) as temporary:
            parquet.write_table(pyarrow.table({"id": pyarrow.array(ids), "vector": column}), temporary)
        return len(ids)

    def _decoded(self, photo: str) -> np.ndarray:
        path = Path(self.job.photos) / photo
        try:
            return load_pixels(path, size=tuple(self.job.size), fit=self.job.fit)
        except (OSError, ValueError, SyntaxError) as error:
            raise InputError(
                f"{path}: unreadable ({error}); take it out of the list and start again"
            ) from error


def _network(job: EmbeddingJob) -> Any:
    from solesearch.gan.embedder import Embedder
    from solesearch.gan.training import load_settings

    settings, _, _ = load_settings(job.profile, image_size=tuple(job.size))
    return Embedder(settings, seed=job.seed).load(Path(job.weights))


def missing_shards(job: EmbeddingJob, folder: Path) -> list[int]:
    """Return the numbers of the shards that are not there yet.

    Raises InputError when the folder holds shards of another job: other photos, features, sizes or weights.
    """
    plan, path = job.plan(), folder / PLAN
    if path.is_file():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{path}: damaged; delete {folder} and start again") from error
        changed = sorted(name for name in plan if known.get(name) != plan[name])
        if changed:
            raise InputError(
                f"{folder}: holds shards of another job ({', '.join(changed)}); name another folder"
            )
    else:
        files.write_json(path, plan)
    return [number for number in range(len(job.shards)) if not shard_file(folder, number).is_file()]


def embed_files(job: EmbeddingJob, folder: Path, *, workers: int = 2, address: str | None = None) -> int:
    """Write the shards of `job` that `folder` lacks, with Ray Data; return how many were written.

    `address`: a Ray cluster's ("auto", "ray://host:10001"), or $RAY_ADDRESS; without, Ray starts here. On a
    cluster `folder` and the photos must be on a file system that all workers share. Raises InputError when
    Ray is not installed, or for what a worker could not read.
    """
    if find_spec("ray") is None:
        raise InputError("Ray is not installed; pip install '.[cluster]'")
    numbers = missing_shards(job, folder)
    if not numbers:
        return 0
    import ray

    _start(workers, address or os.environ.get("RAY_ADDRESS"))
    try:
        todo = ray.data.from_items(
            [{"shard": number} for number in numbers], override_num_blocks=len(numbers)
        )
        done = todo.map_batches(
            ShardWriter,
            fn_constructor_args=(job, str(folder.resolve())),
            batch_size=1,
            concurrency=workers,
        )
        return sum(1 for _ in done.iter_rows())
    except ray.exceptions.RayError as error:
        raise InputError(f"embedding stopped: {_cause(error)}") from error
    finally:
        ray.shutdown()


def _start(workers: int, address: str | None) -> None:
    import ray

    warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
    here = {"num_cpus": workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(**({"address": address} if address else here), log_to_driver=False)
    except Exception as error:  # a node that does not come up is a plain Exception
        place = f"at {address}" if address else "on this machine"
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"Ray did not start {place}: {reason}") from error


def _cause(error: BaseException) -> str:
    """Return the innermost line of what a worker raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "InputError: " in line]
    return named[-1].partition("InputError: ")[2] if named else (lines or [type(error).__name__])[-1]


def read_shards(folder: Path) -> Iterator[Embedding]:
    """Give the embedding of each shard, in order; raises InputError when some are missing or damaged.

    One at a time, so that any index can be filled by `build` with the first and `add` with the rest.
    """
    import pyarrow
    from pyarrow import parquet

    path = folder / PLAN
    if not path.is_file():
        raise InputError(
            f"{folder}: holds no shards; python -m solesearch.index.cluster_embedding writes them"
        )
    plan = json.loads(path.read_text(encoding="utf-8"))
    for number in range(-(-plan["count"] // plan["shard_photos"])):
        shard = shard_file(folder, number)
        if not shard.is_file():
            raise InputError(f"{shard}: not there yet; run the same command again, it goes on")
        try:
            table = parquet.read_table(shard)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise InputError(f"{shard}: damaged; delete it and run the same command again") from error
        vectors = table["vector"].combine_chunks()
        width = vectors.type.list_size
        yield Embedding(table["id"].to_pylist(), np.asarray(vectors.flatten()).reshape(-1, width))


def profile_job(profile: str, *, features: str, shard_photos: int) -> EmbeddingJob:
    """Return the job that embeds a profile's catalogue; the discriminator is the first seed's chosen one."""
    from solesearch.core.paths import Paths
    from solesearch.photos import catalog
    from solesearch.photos.originals import photo_folder
    from solesearch.photos.photo import IMAGE_SIZES

    paths, settings = Paths.of(profile), catalog.load_settings(profile)
    chosen: dict[str, Any] = {}
    if features == DISCRIMINATOR:
        from solesearch.core.checkpoints import checkpoint_file
        from solesearch.evaluation.study import chosen_steps

        table = files.read_table(paths.embeddings / "checkpoints.csv", made_by="stage embed")
        seed, step = next(iter(chosen_steps(table).items()))
        weights = str(checkpoint_file(paths.gan_seed(seed), step))
        chosen = {"profile": profile, "weights": weights, "seed": seed}
    return EmbeddingJob(
        photos=str(photo_folder(paths, settings)),
        ids=read_photos(paths)["id"].tolist(),
        features=features,
        size=IMAGE_SIZES[settings.preset],
        fit=settings.fit,
        shard_photos=shard_photos,
        **chosen,
    )


def main() -> int:
    """Embed a profile's catalogue with Ray: `python -m solesearch.index.cluster_embedding PROFILE`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("--features", default=DISCRIMINATOR, help=f"{DISCRIMINATOR}, {', '.join(CONTROLS)}")
    parser.add_argument("--shard-photos", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--address", help="a Ray cluster's address; default: $RAY_ADDRESS, or this machine")
    arguments = parser.parse_args()

    def work() -> None:
        from solesearch.core.paths import Paths

        shard_photos = arguments.shard_photos
        job = profile_job(arguments.profile, features=arguments.features, shard_photos=shard_photos)
        folder = Paths.of(arguments.profile).run / "shards" / arguments.features
        written = embed_files(job, folder, workers=arguments.workers, address=arguments.address)
        print(f"{written} shards written, {len(job.shards) - written} were there: {folder}")

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
