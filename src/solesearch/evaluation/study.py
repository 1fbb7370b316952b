"""The study of one profile: which photos, which checkpoint, which models, judged how."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_file, checkpoint_steps
from solesearch.core.embedding import Embedding, embedding_name, load_embedding, save_embedding
from solesearch.core.errors import not_made_yet
from solesearch.core.model_names import BEST
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress
from solesearch.core.settings import GanSettings, Section
from solesearch.gan.embedder import Embedder
from solesearch.gan.training import load_gan
from solesearch.networks.comparison import NetworkFolder
from solesearch.photos.photo_table import read_photos
from solesearch.retrieval.controls import CONTROLS, control_features, random_vectors
from solesearch.retrieval.retrieval import GALLERIES, evaluate_each, excluded_pairs, summarise

LEARNED = ("infogan", "untrained_discriminator")
# in the ladder's folder, beside the file of the best model without labels: what it made of every photo
BEST_EMBEDDING, BEST_INDEX = "best", "index"
CHECKPOINTS = ["model", "seed", "step", "gallery", "metric", "k", "value", "n"]


class EvaluationSettings(Section, section="evaluation"):
    """How models are judged; `params.yaml` holds the values and their sources."""

    exclusion_window: int = Field(ge=0)
    ks: list[int]
    choose_gallery: Literal["naive", "product_excluded"]
    choose_k: int

    @model_validator(mode="after")
    def _k_is_judged(self) -> Self:
        if self.choose_k not in self.ks:
            raise ValueError(f"choose_k {self.choose_k} is not among ks {self.ks}")
        return self


@dataclass(frozen=True)
class Study:
    """One profile's photos, decoded pixels and settings, opened once."""

    paths: Paths
    photos: pd.DataFrame
    pixels: np.ndarray  # uint8 [n, h, w, 3], mapped from the disk
    evaluation: EvaluationSettings
    gan: GanSettings
    seeds: list[int]

    @classmethod
    def open(cls, profile: str) -> Study:
        """Read what the stages before left; raises InputError that names what is missing."""
        paths = Paths.of(profile)
        pixels = files.read_array(paths.pixels, made_by="stage prepare", memory_map=True)
        gan = load_gan(profile, image_size=pixels.shape[1:3])
        return cls(paths, read_photos(paths), pixels, EvaluationSettings.load(profile), gan, gan.seeds)

    @property
    def networks(self) -> NetworkFolder:
        """The ImageNet networks' embeddings, of stage networks."""
        return NetworkFolder(self.paths.networks)

    def split(self, name: str) -> tuple[pd.DataFrame, np.ndarray]:
        """Return the photos [n] of one split and their pixels, uint8 [n, h, w, 3]."""
        rows = np.flatnonzero(self.photos["split"] == name)
        return self.photos.iloc[rows].reset_index(drop=True), self.pixels[rows]

    @cached_property
    def embedder(self) -> Embedder:
        """The network that embeds; `discriminator` puts a checkpoint's weights into it."""
        return Embedder(self.gan, seed=self.seeds[0])

    def discriminator(self, *, seed: int, step: int) -> Embedder:
        """Return the embedder of a seed as it was after `step` updates; 0 is untrained."""
        return self.embedder.load(checkpoint_file(self.paths.gan_seed(seed), step))

    def judge(self, vectors: np.ndarray, photos: pd.DataFrame, *, model: str, seed: int) -> pd.DataFrame:
        """Return a row a query and gallery with its precisions (see retrieval.evaluate_each)."""
        window, ks = self.evaluation.exclusion_window, self.evaluation.ks
        judged = evaluate_each(vectors, photos, galleries=GALLERIES, window=window, ks=ks)
        rows = [table.assign(model=model, seed=seed, gallery=gallery) for gallery, table in judged.items()]
        return pd.concat(rows, ignore_index=True)


# --- checkpoints -----------------------------------------------------------------------------------------


def judge_checkpoints(study: Study, *, split: str, folders: Mapping[int, Path] | None = None) -> pd.DataFrame:
    """Judge every kept checkpoint of every seed on the photos of a split, a row a gallery, metric and k.

    `folders`: seed -> where its checkpoints lie, by default those of stage train. Columns CHECKPOINTS; step 0
    is the untrained discriminator.
    """
    photos, pixels = study.split(split)
    folders = folders or {seed: study.paths.gan_seed(seed) for seed in study.seeds}
    tasks = [(seed, step) for seed, folder in folders.items() for step in checkpoint_steps(folder)]
    progress, tables = Progress(f"judging checkpoints, {split}", total=len(tasks), unit="checkpoint"), []
    for done, (seed, step) in enumerate(tasks, start=1):
        vectors = study.embedder.load(checkpoint_file(folders[seed], step)).embed(pixels)
        judged = study.judge(vectors, photos, model="infogan", seed=seed)
        tables.append(summarise(judged).assign(step=step))
        progress.update(done)
    return pd.concat(tables, ignore_index=True).query("`class` == 'all'")[CHECKPOINTS]


def judge_controls(study: Study, *, split: str) -> pd.DataFrame:
    """Judge the features that nobody trained on the photos of a split (columns CHECKPOINTS; step 0)."""
    photos, pixels = study.split(split)
    judged = [study.judge(control_features(name, pixels), photos, model=name, seed=0) for name in CONTROLS]
    return summarise(pd.concat(judged)).assign(step=0).query("`class` == 'all'")[CHECKPOINTS]


def mark_chosen(checkpoints: pd.DataFrame, *, gallery: str, k: int) -> pd.DataFrame:
    """Add the column `chosen`: per seed the trained step of the highest precision@k, earliest of equals."""
    rule = "model == 'infogan' and metric == 'precision' and gallery == @gallery and k == @k and step > 0"
    ranked = checkpoints.query(rule).sort_values(["value", "step"], ascending=[False, True])
    best = ranked.groupby("seed")["step"].first()
    mine = checkpoints["model"] == "infogan"
    return checkpoints.assign(chosen=mine & (checkpoints["step"] == checkpoints["seed"].map(best)))


def chosen_steps(checkpoints: pd.DataFrame) -> dict[int, int]:
    """Return seed -> chosen step."""
    chosen = checkpoints[checkpoints["chosen"]]
    return {int(seed): int(step) for seed, step in chosen.groupby("seed")["step"].first().items()}


def read_checkpoints(paths: Paths) -> pd.DataFrame:
    """Return the checkpoint table of stage embed."""
    return files.read_table(paths.checkpoints, made_by="stage embed")


def read_chosen(paths: Paths) -> dict[int, int]:
    """Return seed -> chosen step of a profile, from stage embed's table."""
    return chosen_steps(read_checkpoints(paths))


# --- models ----------------------------------------------------------------------------------------------


def embed_learned(study: Study, *, model: str, seed: int, step: int) -> Embedding:
    """Embed with a discriminator as it was after `step` updates, write the vectors and return them.

    The first seed's proposed model embeds every photo (its index serves the searches); the others embed the
    test photos, which is all that is judged.
    """
    every = model == "infogan" and seed == study.seeds[0]
    photos, pixels = (study.photos, study.pixels) if every else study.split("test")
    vectors = study.discriminator(seed=seed, step=step).embed(pixels)
    embedding = Embedding(photos["id"].tolist(), vectors)
    save_embedding(study.paths.embeddings, embedding_name(model, seed), embedding)
    return embedding


def models(study: Study) -> list[tuple[str, int]]:
    """Return (model, seed) of everything that is judged; seed 0 where no training of ours is random."""
    seeded = [(model, seed) for model in (*LEARNED, "random") for seed in study.seeds]
    return seeded + [(name, 0) for name in (*CONTROLS, *study.networks.overview()["model"])]


def model_vectors(study: Study, model: str, *, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the test photos that a model embedded, [n], and its vectors of them, float32 [n, d].

    An ImageNet network may have embedded some of the test photos only (params.yaml, networks.photos). The
    best model without labels is there once stage ladder has chosen it.
    """
    photos, pixels = study.split("test")
    if model in LEARNED:
        return photos, load_embedding(study.paths.embeddings, embedding_name(model, seed)).of(photos["id"])
    if model == BEST:
        return photos, load_embedding(study.paths.ladder, BEST_EMBEDDING).of(photos["id"])
    if model == "random":
        return photos, random_vectors(pixels, seed=seed)
    if model in CONTROLS:
        return photos, control_features(model, pixels)
    embedding = study.networks.load(model)
    embedded = photos[photos["id"].isin(set(embedding.ids))].reset_index(drop=True)
    return embedded, embedding.of(embedded["id"])


# --- what the stages before left -------------------------------------------------------------------------


def same_product(study: Study, photo: str) -> frozenset[str]:
    """Return the ids that the product-excluded gallery leaves out for a query, itself included."""
    row, window = np.flatnonzero(study.photos["id"] == photo), study.evaluation.exclusion_window
    [mask] = excluded_pairs(study.photos, queries=row, gallery="product_excluded", window=window)
    return frozenset(study.photos["id"][mask])


def catalogue_summary(paths: Paths) -> dict[str, Any]:
    """Return the manifest of stage prepare."""
    if not paths.manifest.is_file():
        raise not_made_yet(paths.manifest, made_by="stage prepare")
    return json.loads(paths.manifest.read_text(encoding="utf-8"))
