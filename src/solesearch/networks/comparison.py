"""The comparison of P Table II: photos embedded by each ImageNet network, as it is, retrained and misread.

Whatever was computed is kept with what decided it, so a killed or changed run redoes no more than it must.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.embedding import Embedding, load_embedding, save_embedding
from solesearch.core.errors import not_made_yet
from solesearch.core.model_names import NetworkRow
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress
from solesearch.core.provenance import code_digest
from solesearch.core.workers import ended_on_error, process_pool
from solesearch.networks.networks import NetworkEmbedder, NetworkSettings, find_network, kept_embedder
from solesearch.networks.retraining import LOG_COLUMNS, RetrainingSettings, retrain
from solesearch.networks.weights import Weights, recorded
from solesearch.photos.catalog import CatalogSettings, photo_folder
from solesearch.photos.photo import decode_photos
from solesearch.photos.photo_table import read_photos

OVERVIEW = [
    *("model", "network", "weights", "head", "scaling", "input_size", "layer", "pooling"),
    *("dimensions", "photos", "parameters"),
]


class NetworkFolder:
    """The embeddings of one profile by the ImageNet networks: <model>.npy, .ids.txt and .json.

    The last one says what decided the numbers, what networks.csv tells of them and, for a retrained network,
    how its steps went. It is written last, so a kill leaves no half.
    """

    def __init__(self, folder: Path):
        """Take the folder; it need not exist yet."""
        self.folder = folder

    def note(self, name: str) -> Path:
        """Return the file that says what decided a model's numbers."""
        return self.folder / f"{name}.json"

    def holds(self, name: str, wanted: dict[str, Any]) -> bool:
        """Tell whether the embedding that `wanted` decides lies here already."""
        try:
            return self._read(name)["wanted"] == wanted
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def save(
        self,
        embedding: Embedding,
        *,
        wanted: dict[str, Any],
        overview: dict[str, Any],
        log: pd.DataFrame | None = None,
    ) -> None:
        """Write an embedding, what decided it, its row of networks.csv and the log of its retraining."""
        name = overview["model"]
        self.note(name).unlink(missing_ok=True)
        save_embedding(self.folder, name, embedding)
        steps = [] if log is None else log.to_dict("records")
        files.write_json(self.note(name), {"wanted": wanted, "overview": overview, "retraining": steps})

    def load(self, name: str) -> Embedding:
        """Return a model's embedding; raises InputError when it is not there or damaged."""
        if not self.note(name).is_file():
            raise not_made_yet(self.note(name), made_by="stage networks")
        return load_embedding(self.folder, name)

    def summed_up(self, names: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the tables networks.csv, a row a model, and retraining.csv, a row a step."""
        notes = [self._read(name) for name in names]
        steps = [step for note in notes for step in note["retraining"]]
        overview = [note["overview"] for note in notes]
        return pd.DataFrame(overview, columns=OVERVIEW), pd.DataFrame(steps, columns=LOG_COLUMNS)

    def overview(self) -> pd.DataFrame:
        """Return one row a model, as stage networks left it (columns OVERVIEW)."""
        return files.read_table(self.folder / "networks.csv", made_by="stage networks")

    def _read(self, name: str) -> dict[str, Any]:
        return json.loads(self.note(name).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Comparison:
    """One profile's networks, their weights and the photos they see, opened once."""

    paths: Paths
    catalogue: CatalogSettings
    photos: pd.DataFrame
    folder: Path  # where the photos' files lie
    networks: NetworkSettings
    retraining: RetrainingSettings
    weights: dict[str, Weights]

    @classmethod
    def open(
        cls,
        profile: str,
        *,
        networks: NetworkSettings | None = None,
        retraining: RetrainingSettings | None = None,
    ) -> Comparison:
        """Read what the stages before left, and the settings that are not given, from params.yaml.

        Raises InputError that names what is missing or impossible.
        """
        paths, catalogue = Paths.of(profile), CatalogSettings.load(profile)
        networks = networks or NetworkSettings.load(profile)
        retraining = retraining or RetrainingSettings.load(profile)
        weights = {one.network: one for one in recorded(profile, networks)}
        photos, folder = read_photos(paths), photo_folder(paths, catalogue)
        return cls(paths, catalogue, photos, folder, networks, retraining, weights)

    @property
    def store(self) -> NetworkFolder:
        """Where the embeddings are kept."""
        return NetworkFolder(self.paths.networks)

    def variants(self) -> list[NetworkRow]:
        """Return all that is embedded: every network as it is; retrained ones; other scalings.

        Another scaling is tried where there are ImageNet weights only: random weights were trained with none.
        """
        plain = [NetworkRow(name) for name in self.networks.names]
        scaled = [
            NetworkRow(one.network, scaling=scaling)
            for one in plain
            for scaling in self.networks.other_scalings
            if self.trained(one.network) and scaling != self.networks.scaling_of(one)
        ]
        return [*plain, *self.retraining.variants(), *scaled]

    def photos_of(self, variant: NetworkRow) -> pd.DataFrame:
        """Return the rows of the photos that a variant embeds: all, the test photos, or some of them."""
        rows, settings = self.photos, self.networks
        thorough = variant.network in settings.whole_catalogue
        count = settings.photos if self.trained(variant.network) else settings.untrained_photos
        if not (variant.plain and thorough):
            rows = rows[rows["split"] == "test"]
        if not thorough and 0 < count < len(rows):
            rows = rows.sample(n=count, random_state=settings.seed).sort_index()
        return rows

    @cached_property
    def training_photos(self) -> pd.DataFrame:
        """The rows of the photos that retraining sees."""
        return self.photos[self.photos["split"] == "training"]

    def decode(self, rows: pd.DataFrame, *, size: int) -> np.ndarray:
        """Return the photos of some rows as uint8 [n, size, size, 3]."""
        return decode_photos(rows["id"], folder=self.folder, size=(size, size), fit=self.catalogue.fit)

    def trained(self, network: str) -> bool:
        """Tell whether there are ImageNet weights for a network here."""
        return self.weights[network].path is not None

    def wanted(self, variant: NetworkRow) -> dict[str, Any]:
        """Return what decides the numbers of one variant's embedding; equal means that it can be reused."""
        settings, trained = self.networks, self.trained(variant.network)
        decided = {
            "code": code_digest("solesearch.networks.comparison"),
            "model": variant.name,
            "weights_sha256": self.weights[variant.network].sha256,
            "seed": 0 if trained else settings.seed,
            "layer": settings.layers.get(variant.network, ""),
            "pooling": settings.pooling,
            "scaling": settings.scaling_of(variant),
            "input_size": settings.size_of(find_network(variant.network), trained=trained),
            "fit": self.catalogue.fit,
            "photos": _digest(self.photos_of(variant)[["id", "sha256"]]),
        }
        if variant.head != "none":
            decided["retraining"] = self.retraining.model_dump(exclude={"networks", "heads"})
            decided["training_photos"] = _digest(self.training_photos[["id", "sha256", "label"]])
        return decided


def _digest(table: pd.DataFrame) -> str:
    return hashlib.sha256(table.to_csv(index=False).encode()).hexdigest()


def start_process(*, threads: int) -> Executor:
    """Start the process in which the networks are built and compiled, embed, and are timed.

    TensorFlow takes `threads` threads there. One process, since TensorFlow keeps what its largest pass took
    (VGG16 and 32 photos of 224 pixels: 1.3 GiB) for the next one, and each further process would keep as much
    again. Raises InputError when it does not start.
    """
    process = process_pool(1)
    with ended_on_error([process], work="starting the networks' process"):
        process.submit(_set_threads, threads).result()
    return process


def _set_threads(threads: int) -> None:
    """Give TensorFlow so many threads in this process; before it works."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def embed_networks(comparison: Comparison, process: Executor) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Retrain and embed with every variant that is not there yet; write the folder's networks.csv.

    A killed run goes on with the variants that are missing; a failure ends the process. Returns networks.csv,
    a row a model, and retraining.csv, a row a step. Raises InputError that names the model whose process was
    killed.
    """
    variants, store = comparison.variants(), comparison.store
    wanted = {variant: comparison.wanted(variant) for variant in variants}
    missing = [variant for variant in variants if not store.holds(variant.name, wanted[variant])]
    progress = Progress("embedding with the networks", total=len(missing), unit="network")
    for done, variant in enumerate(missing, start=1):
        with ended_on_error([process], work=f"network {variant.name}"):
            process.submit(_embed_one, comparison, variant, wanted[variant]).result()
        progress.update(done)
    overview, log = store.summed_up([variant.name for variant in variants])
    files.write_table(store.folder / "networks.csv", overview)
    return overview, log


def _embed_one(comparison: Comparison, variant: NetworkRow, wanted: dict[str, Any]) -> None:
    """Build one variant's network, retrain it if it has a head, embed its photos and keep the vectors."""
    settings, weights = comparison.networks, comparison.weights[variant.network]
    if variant.plain:
        embedder = kept_embedder(variant.network, settings.model_dump_json(), weights.path)
    else:
        embedder = NetworkEmbedder(variant, settings, weights=weights.path)
    log = None if variant.head == "none" else _retrain_one(comparison, variant, embedder)
    rows = comparison.photos_of(variant)
    # in parts: 300x300 pixels of all photos would fill the memory
    parts = (rows[at : at + settings.batch] for at in range(0, len(rows), settings.batch))
    decoded = (comparison.decode(part, size=embedder.size) for part in parts)
    vectors = np.concatenate([embedder.features(pixels).numpy() for pixels in decoded])
    overview = {
        "model": variant.name,
        "network": variant.network,
        "weights": weights.weights,
        "head": variant.head,
        "scaling": wanted["scaling"],
        "input_size": embedder.size,
        "layer": wanted["layer"] or embedder.network.last_convolution,
        "pooling": settings.pooling,
        "dimensions": vectors.shape[1],
        "photos": len(vectors),
        "parameters": embedder.model.count_params(),
    }
    embedding = Embedding(rows["id"].tolist(), vectors)
    comparison.store.save(embedding, wanted=wanted, overview=overview, log=log)


def _retrain_one(comparison: Comparison, variant: NetworkRow, embedder: NetworkEmbedder) -> pd.DataFrame:
    """Retrain a network in place on the training photos; return its log, a row a step."""
    seen = comparison.training_photos
    return retrain(
        embedder,
        variant,
        comparison.retraining,
        photos=lambda batch: comparison.decode(seen.iloc[batch], size=embedder.size),
        labels=seen["label"].to_numpy(),
    )
