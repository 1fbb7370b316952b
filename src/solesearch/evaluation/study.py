"""The study: which checkpoint, which photos, which models, judged how. The notebooks 04 to 07 call this."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_file, checkpoint_steps
from solesearch.core.embedding import Embedding, embedding_name, load_embedding, save_embedding
from solesearch.core.errors import InputError, not_made_yet
from solesearch.core.paths import Paths
from solesearch.core.progress import Progress
from solesearch.core.settings import fill, load_section
from solesearch.gan.embedder import Embedder
from solesearch.gan.training import load_gan
from solesearch.networks.comparison import NetworkFolder
from solesearch.photos.photo_table import class_counts, read_photos
from solesearch.retrieval.controls import CONTROLS, control_features, random_vectors
from solesearch.retrieval.retrieval import GALLERIES, evaluate_each, excluded_pairs, summarise
from solesearch.retrieval.uncertainty import (
    load_resampling,
    read_queries,
    uncertainty_tables,
    untrained_networks,
)

LEARNED = ("infogan", "untrained_discriminator")
CHECKPOINT_COLUMNS = ["model", "seed", "step", "gallery", "metric", "k", "value", "n"]


@dataclass(frozen=True)
class EvaluationSettings:
    """How models are judged; `params.yaml` holds the values and their sources."""

    exclusion_window: int
    ks: list[int]
    choose_gallery: str
    choose_k: int

    def __post_init__(self) -> None:
        """Raise InputError for a protocol that cannot be followed."""
        if self.choose_gallery not in GALLERIES:
            raise InputError(f"params.yaml, evaluation.choose_gallery: one of {', '.join(GALLERIES)}")
        if self.choose_k not in self.ks:
            raise InputError(f"params.yaml, evaluation.choose_k {self.choose_k} is not among ks {self.ks}")
        if self.exclusion_window < 0:
            raise InputError("params.yaml, evaluation.exclusion_window must be 0 or more")


@dataclass(frozen=True)
class Study:
    """One profile's photos, decoded pixels and settings, opened once."""

    paths: Paths
    photos: pd.DataFrame
    pixels: np.ndarray
    evaluation: EvaluationSettings
    gan: Any
    seeds: list[int]

    @classmethod
    def open(cls, profile: str, overrides: dict[str, Any] | None = None) -> Study:
        """Read what the stages before left; raises InputError that names what is missing."""
        paths = Paths.of(profile)
        pixels = files.read_array(paths.pixels, made_by="stage prepare", memory_map=True)
        changed = {key[4:]: value for key, value in (overrides or {}).items() if key.startswith("gan.")}
        gan = load_gan(profile, image_size=pixels.shape[1:3], **changed)
        values = load_section(profile, "evaluation", overrides)
        evaluation = fill(EvaluationSettings, values, where=f"{profile}.evaluation")
        return cls(paths, read_photos(paths), pixels, evaluation, gan, gan.seeds)

    @property
    def networks(self) -> NetworkFolder:
        """The ImageNet networks' embeddings, from stage networks."""
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

    def judge(self, vectors: np.ndarray, photos: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Return for each gallery one row a query with its precisions (see retrieval.evaluate_each)."""
        return evaluate_each(
            vectors,
            photos,
            galleries=GALLERIES,
            window=self.evaluation.exclusion_window,
            ks=self.evaluation.ks,
        )


def sweep_checkpoints(study: Study) -> pd.DataFrame:
    """Judge every kept checkpoint of every seed, and the controls, on the validation photos; mark the choice.

    Returns rows model, seed, step, gallery, metric, k, value, n, chosen; test photos are not touched. Step 0
    of the proposed model is the untrained discriminator, shown but never chosen.
    """
    photos, pixels = study.split("validation")
    tasks = [
        ("infogan", seed, step)
        for seed in study.seeds
        for step in checkpoint_steps(study.paths.gan_seed(seed))
    ] + [(name, 0, 0) for name in CONTROLS]
    progress, rows = Progress("judging checkpoints", total=len(tasks), unit="checkpoint"), []
    for number, (model, seed, step) in enumerate(tasks, start=1):
        learned = model == "infogan"
        network = study.discriminator(seed=seed, step=step) if learned else None
        vectors = network.embed(pixels) if network else control_features(model, pixels)
        for gallery, queries in study.judge(vectors, photos).items():
            table = summarise(queries, model=model, seed=seed, gallery=gallery, ks=study.evaluation.ks)
            rows.append(table[table["class"] == "all"].assign(step=step))
        progress.update(number)
    table = pd.concat(rows, ignore_index=True)
    rule = study.evaluation
    return mark_chosen(table[CHECKPOINT_COLUMNS], gallery=rule.choose_gallery, k=rule.choose_k)


def mark_chosen(checkpoints: pd.DataFrame, *, gallery: str, k: int) -> pd.DataFrame:
    """Add the column `chosen`: per seed the trained step of the highest precision@k, earliest of equals."""
    judged = checkpoints[
        (checkpoints["model"] == "infogan")
        & (checkpoints["gallery"] == gallery)
        & (checkpoints["metric"] == "precision")
        & (checkpoints["k"] == k)
        & (checkpoints["step"] > 0)
    ].sort_values(["seed", "value", "step"], ascending=[True, False, True])
    best = judged.groupby("seed")["step"].first()
    mine = checkpoints["model"] == "infogan"
    return checkpoints.assign(chosen=mine & (checkpoints["step"] == checkpoints["seed"].map(best)))


def chosen_steps(checkpoints: pd.DataFrame) -> dict[int, int]:
    """Return seed -> chosen step."""
    chosen = checkpoints[checkpoints["chosen"]]
    return {int(seed): int(step) for seed, step in chosen.groupby("seed")["step"].first().items()}


def embed_catalogue(study: Study, checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Write the embeddings of the learned models and the checkpoint table; return an overview.

    The first seed's proposed model embeds every photo (its index serves the searches); the others embed
    the test photos, which is all that is judged.
    """
    steps, rows = chosen_steps(checkpoints), []
    test, test_pixels = study.split("test")
    progress = Progress("embedding photos", total=len(study.seeds) * 2, unit="model")
    for seed in study.seeds:
        for model, step in zip(LEARNED, (steps[seed], 0), strict=True):
            everything = model == "infogan" and seed == study.seeds[0]
            photos, pixels = (study.photos, study.pixels) if everything else (test, test_pixels)
            vectors = study.discriminator(seed=seed, step=step).embed(pixels)
            embedding = Embedding(photos["id"].tolist(), vectors)
            save_embedding(study.paths.embeddings, embedding_name(model, seed), embedding)
            rows.append((model, seed, step, *vectors.shape, vectors.nbytes / 1e6))
            progress.update(len(rows))
    files.write_table(study.paths.embeddings / "checkpoints.csv", checkpoints)
    return pd.DataFrame(rows, columns=["model", "seed", "step", "photos", "dimensions", "megabytes"])


def read_checkpoints(study: Study) -> pd.DataFrame:
    """Return the checkpoint table of stage embed."""
    return files.read_table(study.paths.embeddings / "checkpoints.csv", made_by="stage embed")


def model_vectors(study: Study, model: str, *, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the test photos that a model embedded, [n], and its vectors of them, float32 [n, d].

    An ImageNet network may have embedded some of the test photos only (params.yaml, networks.photos).
    """
    photos, pixels = study.split("test")
    if model in LEARNED:
        return photos, load_embedding(study.paths.embeddings, embedding_name(model, seed)).of(photos["id"])
    if model == "random":
        return photos, random_vectors(pixels, seed=seed)
    if model in CONTROLS:
        return photos, control_features(model, pixels)
    embedding = study.networks.load(model)
    embedded = photos[photos["id"].isin(set(embedding.ids))].reset_index(drop=True)
    return embedded, embedding.of(embedded["id"])


def models(study: Study) -> list[tuple[str, int]]:
    """Return (model, seed) of everything that is judged; seed 0 where no training of ours is random."""
    seeded = [(model, seed) for model in (*LEARNED, "random") for seed in study.seeds]
    return seeded + [(name, 0) for name in (*CONTROLS, *study.networks.overview()["model"])]


def judge_models(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Judge every model on the test photos in both galleries.

    Returns (results rows as in retrieval.summarise, one row a query with model, seed and gallery).
    """
    wanted, rows, queries = models(study), [], []
    progress = Progress("judging models", total=len(wanted), unit="model")
    for number, (model, seed) in enumerate(wanted, start=1):
        photos, vectors = model_vectors(study, model, seed=seed)
        for gallery, judged in study.judge(vectors, photos).items():
            rows.append(summarise(judged, model=model, seed=seed, gallery=gallery, ks=study.evaluation.ks))
            queries.append(judged.assign(model=model, seed=seed, gallery=gallery))
        progress.update(number)
    return pd.concat(rows, ignore_index=True), pd.concat(queries, ignore_index=True)


def write_results(study: Study, *, retrieval: pd.DataFrame, queries: pd.DataFrame) -> list[str]:
    """Write the committed tables of a profile that judging gives; return their file names."""
    paths = study.paths
    tables = {
        "retrieval": retrieval,
        "checkpoints": read_checkpoints(study),
        "training": training_log(study),
        "catalogue": class_counts(study.photos),
    }
    for name, table in tables.items():
        files.write_table(paths.result(name), table)
    files.write_text(paths.photo_manifest, paths.manifest.read_text(encoding="utf-8"))
    files.write_table(paths.run / "evaluation" / "queries.csv", queries)
    files.write_json(paths.metrics, {"precision_at_5": precision_metrics(retrieval)})
    return [*(f"{name}.csv" for name in tables), "manifest.json"]


def precision_metrics(retrieval: pd.DataFrame, k: int = 5) -> dict[str, dict[str, float]]:
    """Return gallery -> model -> precision@k over all queries, the mean over the seeds, for `dvc metrics`."""
    rows = retrieval.query("metric == 'precision' and k == @k and `class` == 'all'")
    means = rows.pivot_table(index="model", columns="gallery", values="value").round(4)
    return {gallery: means[gallery].dropna().to_dict() for gallery in means}


def training_log(study: Study) -> pd.DataFrame:
    """Return the losses of all seeds: seed, step, d_real, d_fake, generator, mutual_information."""
    logs = []
    for seed in study.seeds:
        log = files.read_table(study.paths.gan_seed(seed) / "training.csv", made_by="stage train")
        log.insert(0, "seed", seed)
        logs.append(log)
    return pd.concat(logs, ignore_index=True)


def sample_grids(study: Study, *, seed: int) -> dict[int, np.ndarray]:
    """Return step -> grid of generated images, uint8 [rows * h, columns * w, 3], of one seed's training."""
    found = sorted(study.paths.gan_seed(seed).glob("samples-*.png"))
    if not found:
        raise InputError(f"{study.paths.gan_seed(seed)}: no samples yet; stage train writes them")
    grids = {}
    for path in found:
        with Image.open(path) as image:
            grids[int(path.stem.rpartition("-")[2])] = np.asarray(image.convert("RGB"))
    return grids


def same_product(study: Study, photo: str) -> frozenset[str]:
    """Return the ids that the product-excluded gallery leaves out for a query, itself included."""
    row = int(np.flatnonzero(study.photos["id"] == photo)[0])
    mask = excluded_pairs(
        study.photos,
        queries=np.array([row]),
        gallery="product_excluded",
        window=study.evaluation.exclusion_window,
    )
    return frozenset(study.photos["id"][mask[0]])


def read_chosen(paths: Paths) -> dict[int, int]:
    """Return seed -> chosen step of a profile, from stage embed's table."""
    return chosen_steps(files.read_table(paths.embeddings / "checkpoints.csv", made_by="stage embed"))


def catalogue_summary(paths: Paths) -> dict[str, Any]:
    """Return the manifest of stage prepare."""
    if not paths.manifest.is_file():
        raise not_made_yet(paths.manifest, made_by="stage prepare")
    return json.loads(paths.manifest.read_text(encoding="utf-8"))


def write_uncertainty(study: Study, overrides: dict[str, Any] | None = None) -> dict[str, pd.DataFrame]:
    """Write intervals.csv, seed_spread.csv and differences.csv from stage evaluate's queries; return them."""
    paths = study.paths
    tables = uncertainty_tables(
        read_queries(paths),
        study.photos,
        load_resampling(paths.profile, overrides),
        window=study.evaluation.exclusion_window,
        untrained=untrained_networks(paths),
    )
    for name, table in tables.items():
        files.write_table(paths.result(name), table)
    return tables
