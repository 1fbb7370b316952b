"""The comparison of P Table II: photos embedded by each ImageNet network, as it is, retrained and misread.

Whatever was computed is kept with what decided it, so a killed or changed run redoes no more than it must.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.embedding import Embedding, load_embedding, save_embedding
from solesearch.core.errors import not_made_yet
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress
from solesearch.core.provenance import code_digest
from solesearch.core.repeatable import has_gpu
from solesearch.core.settings import fill, load_section
from solesearch.core.workers import process_pool
from solesearch.networks.networks import (
    NetworkEmbedder,
    NetworkSettings,
    Variant,
    find_network,
    prepared_network,
)
from solesearch.networks.retraining import LOG_COLUMNS, RetrainingSettings, retrain
from solesearch.networks.weights import Weights, load_network_settings, recorded
from solesearch.photos.catalog import CatalogSettings
from solesearch.photos.originals import decode_square, photo_folder
from solesearch.photos.photo_table import read_photos

OVERVIEW = [
    *("model", "network", "weights", "head", "scaling", "input_size", "layer", "pooling"),
    *("dimensions", "photos", "parameters"),
]


@dataclass(frozen=True)
class Photographs:
    """Which photos are embedded: their ids in order, digests of their files, and where the files lie."""

    ids: list[str]
    digests: list[str]  # sha256 of each file, from photos.csv
    folder: Path
    fit: str

    @classmethod
    def of(cls, photos: pd.DataFrame, *, folder: Path, fit: str) -> Photographs:
        """Take the rows of photos.csv that are to be embedded."""
        return cls(photos["id"].tolist(), photos["sha256"].tolist(), folder, fit)

    def digest(self) -> str:
        """Return one digest of names, contents and order."""
        lines = "".join(f"{name}\t{content}\n" for name, content in zip(self.ids, self.digests, strict=True))
        return hashlib.sha256(lines.encode()).hexdigest()

    def decode(self, *, size: int, first: int = 0, last: int | None = None) -> np.ndarray:
        """Return photos first..last-1 as uint8 [n, size, size, 3]."""
        return decode_square(self.ids[first:last], folder=self.folder, size=size, fit=self.fit)


class NetworkFolder:
    """The embeddings of one profile by the ImageNet networks: <model>.npy, .ids.txt and .json."""

    def __init__(self, folder: Path):
        """Take the folder; it need not exist yet."""
        self.folder = folder

    def note(self, name: str) -> Path:
        """Return the file that says what decided the numbers; written last, so a kill leaves no half."""
        return self.folder / f"{name}.json"

    def retrained(self, name: str) -> Path:
        """Return the weights that retraining made, with its log and what decided it beside them."""
        return self.folder / "retrained" / f"{name}.npz"

    def holds(self, note: Path, wanted: dict[str, Any]) -> bool:
        """Tell whether what is `wanted` lies here already."""
        try:
            return json.loads(note.read_text(encoding="utf-8"))["wanted"] == wanted
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def save(self, embedding: Embedding, *, wanted: dict[str, Any], overview: dict[str, Any]) -> None:
        """Write an embedding and what decided it."""
        name = overview["model"]
        self.note(name).unlink(missing_ok=True)
        save_embedding(self.folder, name, embedding)
        files.write_json(self.note(name), {"wanted": wanted, "overview": overview})

    def load(self, name: str) -> Embedding:
        """Return a model's embedding; raises InputError when it is not there or damaged."""
        if not self.note(name).is_file():
            raise not_made_yet(self.note(name), made_by="stage networks")
        return load_embedding(self.folder, name)

    def overview(self) -> pd.DataFrame:
        """Return one row a model, as stage networks left it (columns OVERVIEW)."""
        return files.read_table(self.folder / "networks.csv", made_by="stage networks")


@dataclass(frozen=True)
class Comparison:
    """One profile's networks, their weights and the photos they see, opened once."""

    paths: Paths
    photos: pd.DataFrame
    folder: Path  # where the photos' files lie
    fit: str
    networks: NetworkSettings
    retraining: RetrainingSettings
    weights: dict[str, Weights]

    @classmethod
    def open(cls, profile: str, overrides: dict[str, Any] | None = None) -> Comparison:
        """Read what the stages before left; raises InputError that names what is missing or impossible."""
        paths = Paths.of(profile)
        networks = load_network_settings(profile, overrides)
        retraining = load_retraining_settings(profile, overrides)
        catalog = CatalogSettings.load(profile)
        weights = {one.network: one for one in recorded(profile, networks)}
        photos = read_photos(paths)
        return cls(paths, photos, photo_folder(paths, catalog), catalog.fit, networks, retraining, weights)

    @cached_property
    def store(self) -> NetworkFolder:
        """Where the embeddings are kept."""
        return NetworkFolder(self.paths.networks)

    def variants(self) -> list[Variant]:
        """Return all that is embedded: every network as it is; retrained ones; other scalings.

        Another scaling is tried where there are ImageNet weights only: random weights were trained with none.
        """
        plain = [Variant(name) for name in self.networks.names]
        scaled = [
            Variant(name, scaling=scaling)
            for name in self.networks.names
            for scaling in self.networks.other_scalings
            if self.trained(name) and scaling != self.networks.scaling_of(Variant(name))
        ]
        return [*plain, *self.retraining.variants(), *scaled]

    def photographs(self, variant: Variant) -> Photographs:
        """Return the photos that a variant embeds: all, the test photos, or some of them."""
        rows, settings = self.photos, self.networks
        thorough = variant.network in settings.whole_catalogue
        count = settings.photos if self.trained(variant.network) else settings.untrained_photos
        if variant != Variant(variant.network) or not thorough:
            rows = rows[rows["split"] == "test"]
        if not thorough and 0 < count < len(rows):
            rows = rows.sample(n=count, random_state=settings.seed).sort_index()
        return Photographs.of(rows, folder=self.folder, fit=self.fit)

    def training_photographs(self) -> tuple[Photographs, np.ndarray]:
        """Return the training photos and their labels, str [n]."""
        rows = self.photos[self.photos["split"] == "training"]
        return Photographs.of(rows, folder=self.folder, fit=self.fit), rows["label"].to_numpy()

    def trained(self, network: str) -> bool:
        """Tell whether there are ImageNet weights for a network here."""
        return self.weights[network].path is not None

    def size_of(self, network: str) -> int:
        """Return the side of the square that a network sees here, in pixels."""
        return self.networks.size_of(find_network(network), trained=self.trained(network))

    def wanted(self, variant: Variant) -> dict[str, Any]:
        """Return what decides the numbers of one variant's embedding; equal means that it can be reused."""
        weights = self.weights[variant.network]
        return {
            "code": code_digest("solesearch.networks.comparison"),
            "model": variant.name,
            "weights_sha256": weights.sha256,
            "seed": 0 if self.trained(variant.network) else self.networks.seed,
            "layer": self.networks.layers.get(variant.network, ""),
            "pooling": self.networks.pooling,
            "scaling": self.networks.scaling_of(variant),
            "input_size": self.size_of(variant.network),
            "fit": self.fit,
            "photographs": self.photographs(variant).digest(),
            "retraining": self.wanted_retraining(variant) if variant.head != "none" else {},
        }

    def wanted_retraining(self, variant: Variant) -> dict[str, Any]:
        """Return what decides the weights that retraining makes."""
        weights, (photographs, labels) = self.weights[variant.network], self.training_photographs()
        return {
            "code": code_digest("solesearch.networks.comparison"),
            **dataclasses.asdict(self.retraining),
            "networks": [variant.network],
            "heads": [variant.head],
            "weights_sha256": weights.sha256,
            "drawn": 0 if self.trained(variant.network) else self.networks.seed,
            "scaling": self.networks.scaling_of(variant),
            "input_size": self.size_of(variant.network),
            "photographs": photographs.digest(),
            "labels": hashlib.sha256("\n".join(labels).encode()).hexdigest(),
        }


def load_retraining_settings(profile: str, overrides: dict[str, Any] | None = None) -> RetrainingSettings:
    """Return section `retraining` of a profile; raises InputError for an impossible value."""
    values = load_section(profile, "retraining", overrides)
    return fill(RetrainingSettings, values, where=f"{profile}.retraining")


def retrain_networks(comparison: Comparison) -> pd.DataFrame:
    """Retrain each network with each head, unless that lies here already; return the logs of all.

    A killed run goes on with the first one that is missing.
    """
    logs = []
    for variant in comparison.retraining.variants():
        target, wanted = comparison.store.retrained(variant.name), comparison.wanted_retraining(variant)
        if not comparison.store.holds(target.with_suffix(".json"), wanted):
            _retrain_one(comparison, variant, target, wanted)
        logs.append(files.read_table(target.with_suffix(".csv"), made_by="stage networks"))
    return pd.concat(logs, ignore_index=True) if logs else pd.DataFrame(columns=LOG_COLUMNS)


def _retrain_one(comparison: Comparison, variant: Variant, target: Path, wanted: dict[str, Any]) -> None:
    import keras

    from solesearch.core.checkpoints import save_variables

    target.with_suffix(".json").unlink(missing_ok=True)
    network, size = find_network(variant.network), comparison.size_of(variant.network)
    photographs, labels = comparison.training_photographs()
    weights = comparison.weights[variant.network].path
    whole = prepared_network(network, size=size, seed=comparison.networks.seed, weights=weights)
    log = retrain(
        whole,
        variant,
        comparison.retraining,
        pixels=photographs.decode(size=size),
        labels=labels,
        scaling=comparison.networks.scaling_of(variant),
        trained=comparison.trained(variant.network),
    )
    save_variables(target, whole.variables)
    files.write_table(target.with_suffix(".csv"), log)
    files.write_json(target.with_suffix(".json"), {"wanted": wanted})
    keras.utils.clear_session()


def embed_networks(comparison: Comparison, *, workers: int | None = None) -> pd.DataFrame:
    """Embed with every variant that is not there yet; write networks.csv and return it, a row a model.

    As many networks at once as there are `workers` (default: cores, one with a GPU), since for few photos
    most of the time goes into building them, which keeps one core busy. A killed run goes on with the
    variants that are missing.
    """
    variants, store = comparison.variants(), comparison.store
    wanted = {variant: comparison.wanted(variant) for variant in variants}
    missing = [one for one in variants if not store.holds(store.note(one.name), wanted[one])]
    total = sum(len(comparison.photographs(variant).ids) for variant in missing)
    progress, done = Progress("embedding with the networks", total=total, unit="photo"), 0
    for photos in _embed_all(comparison, {one: wanted[one] for one in missing}, workers=workers):
        done += photos
        progress.update(done)
    notes = [json.loads(store.note(variant.name).read_text(encoding="utf-8")) for variant in variants]
    table = pd.DataFrame([note["overview"] for note in notes], columns=OVERVIEW)
    files.write_table(store.folder / "networks.csv", table)
    return table


def _embed_all(
    comparison: Comparison, wanted: dict[Variant, dict[str, Any]], *, workers: int | None
) -> Iterator[int]:
    """Embed with each variant and yield its number of photos as it ends."""
    workers = min(workers or (1 if has_gpu() else os.cpu_count() or 1), len(wanted))
    if workers < 2:
        yield from (_embed_one(comparison, variant, note) for variant, note in wanted.items())
        return
    with process_pool(workers) as pool:
        running = [pool.submit(_embed_one, comparison, variant, note) for variant, note in wanted.items()]
        try:
            yield from (future.result() for future in as_completed(running))
        finally:
            pool.shutdown(cancel_futures=True)  # after a failure the rest would only delay its message


def _embed_one(comparison: Comparison, variant: Variant, wanted: dict[str, Any]) -> int:
    import keras

    settings, weights = comparison.networks, comparison.weights[variant.network]
    retrained = comparison.store.retrained(variant.name) if variant.head != "none" else None
    embedder = NetworkEmbedder(variant, settings, weights=weights.path, retrained=retrained)
    photographs, blocks = comparison.photographs(variant), []
    # in parts: 300x300 pixels of all photos would fill the memory
    for start in range(0, len(photographs.ids), settings.batch):
        pixels = photographs.decode(size=embedder.size, first=start, last=start + settings.batch)
        blocks.append(embedder.embed(pixels))
    vectors = np.concatenate(blocks)
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
    comparison.store.save(Embedding(photographs.ids, vectors), wanted=wanted, overview=overview)
    del embedder
    keras.utils.clear_session()  # the next network needs the memory
    return len(vectors)
