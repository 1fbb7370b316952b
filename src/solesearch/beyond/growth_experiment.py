"""What adding photos does to precision: C's claim that new product images extend the system, put to a test.

Test photos ask; the gallery is what the catalogue holds before (training photos) and what is added
(validation photos, which no training of the pipeline has seen). So a query never stands in its own gallery,
and neither do other queries: this is not the leave-one-out protocol of notebook 06, whose gallery are the
test photos themselves, and the two precisions must not be compared. Where whole products or blocks were
split, hardly any photo of a query's own product is in the gallery, so both galleries nearly agree.

In a second experiment a class was missing from the gallery and is added whole. Its training photos were among
those that every network here was trained on, without a label: the class is new to the gallery alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_file
from solesearch.core.embedding import embedding_name, load_embedding
from solesearch.core.errors import InputError
from solesearch.core.repeatable import trainings_at_once
from solesearch.core.workers import run_trainings
from solesearch.evaluation.study import Study
from solesearch.gan.continuation import continue_training, last_discriminator, last_state
from solesearch.photos.splits import SPLITS, UNLABELLED
from solesearch.retrieval.retrieval import GALLERIES, answers
from solesearch.retrieval.uncertainty import Resampling, means_with_intervals, resampling_units

K = 5  # answers judged; as everywhere
NEW_PHOTOS, NEW_CLASS = "new photos", "new class"
MEASURES = {  # -> the columns of its mean and of the ends of its interval
    "precision": ["precision", "low", "high"],
    "change": ["change", "change_low", "change_high"],
    "over_added": ["over_added", "over_added_low", "over_added_high"],
}
COLUMNS = [
    *("experiment", "queries", "gallery", "way"),
    *(column for columns in MEASURES.values() for column in columns),
    *("new_share", "n", "units", "old_photos", "new_photos", "same_as_rebuilt"),
]


class Way(NamedTuple):
    """One way to let a catalogue grow: whose vectors stand for queries, old and new photos."""

    name: str
    title: str
    network: str  # embeds queries and new photos
    old: str  # whose vectors the old photos have
    reference: str = ""  # the way before growing; "": this is one, without the new photos


WAYS = (
    Way("before", "before: old photos alone", "last", "last"),
    Way("added", "added to the index, network frozen", "last", "last", "before"),
    Way("retrained", "retrained on old and new, all embedded anew", "retrained", "retrained", "before"),
    Way("stale", "retrained, old vectors left as they were", "retrained", "last", "before"),
    Way("continued", "as many steps on old photos alone", "continued", "continued", "before"),
    Way("served_before", "chosen checkpoint, before", "served", "served"),
    Way("served_added", "chosen checkpoint, added", "served", "served", "served_before"),
    Way("untrained_before", "untrained, before", "untrained", "untrained"),
    Way("untrained_added", "untrained, added", "untrained", "untrained", "untrained_before"),
)
TRAINED_ON = ("retrained", "continued")
TITLES = {way.name: way.title for way in WAYS}


class Experiment(NamedTuple):
    """Which photos ask, which were there, which come: row numbers of the photo table."""

    name: str
    queries: np.ndarray
    old: np.ndarray
    new: np.ndarray
    parts: dict[str, np.ndarray]  # name of a part of the queries -> mask bool [q]


def experiments(photos: pd.DataFrame, *, new_class: str) -> list[Experiment]:
    """Return the two experiments on a photo table; `new_class` "" takes the last class by name.

    Raises InputError for a class that no test photo has, or one without which nothing is left.
    """
    labels, labelled = photos["label"].to_numpy(), (photos["label"] != UNLABELLED).to_numpy()
    rows = {name: np.flatnonzero((photos["split"] == name).to_numpy() & labelled) for name in SPLITS}
    queries, classes = rows["test"], sorted(set(labels[rows["test"]]))
    chosen = new_class or classes[-1]
    if chosen not in classes or len(classes) < 2:
        raise InputError(
            f"params.yaml, growth.new_class: {chosen!r} is none of {', '.join(classes)}, two or more"
        )
    known = np.sort(np.concatenate([rows["training"], rows["validation"]]))
    arriving, theirs = labels[known] == chosen, labels[queries] == chosen
    parts = {chosen: theirs, "other classes": ~theirs}
    everyone = {"all": np.ones(len(queries), bool)}
    return [
        Experiment(NEW_PHOTOS, queries, rows["training"], rows["validation"], everyone),
        Experiment(NEW_CLASS, queries, known[~arriving], known[arriving], parts),
    ]


# --- networks and their vectors --------------------------------------------------------------------------


def train_on(study: Study, *, steps: int) -> dict[str, Path]:
    """Train the first seed on, with and without the new photos; return network -> its folder.

    What an earlier or killed run left is used where nothing that decides it changed.
    """
    if not steps:
        return {}
    paths, seed = study.paths, study.seeds[0]
    new_pixels = paths.growth_experiment / "new_pixels.npy"
    files.write_array(new_pixels, study.split("validation")[1])
    folders = {name: paths.growth_experiment / name / "infogan" / f"seed-{seed}" for name in TRAINED_ON}
    trainings = {name: (paths, folder, seed, steps) for name, folder in folders.items()}
    trainings["retrained"] += (new_pixels,)
    run_trainings(continue_training, trainings, at_once=trainings_at_once(study.gan.threads))
    return folders


def weight_files(study: Study, folders: dict[str, Path]) -> dict[str, Path]:
    """Return network -> its weights, of those that embed here; `folders` are those of `train_on`."""
    seed, (_, last) = study.seeds[0], last_state(study.paths, study.seeds[0])
    steps = {"last": last, "untrained": 0}
    kept = {name: checkpoint_file(study.paths.gan_seed(seed), step) for name, step in steps.items()}
    return kept | {name: last_discriminator(folder) for name, folder in folders.items()}


def network_vectors(
    study: Study, weights: dict[str, Path]
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, float]]]:
    """Return network -> vectors float32 [n, d] of all photos; network -> split -> seconds of embedding.

    The network `served` is the chosen checkpoint, whose vectors stage embed wrote.
    """
    served = load_embedding(study.paths.embeddings, embedding_name("infogan", study.seeds[0]))
    vectors, seconds = {"served": served.of(study.photos["id"])}, {}
    study.embedder.embed(study.pixels[:1])  # compiles, which no way is to be charged for
    for name, file in weights.items():
        embedder = study.embedder.load(file)
        vectors[name], seconds[name] = np.empty_like(vectors["served"]), {}
        for split in SPLITS:
            rows, started = np.flatnonzero(study.photos["split"] == split), time.perf_counter()
            vectors[name][rows] = embedder.embed(study.pixels[rows])
            seconds[name][split] = time.perf_counter() - started
    return vectors, seconds


# --- judging ---------------------------------------------------------------------------------------------


def judge_ways(
    study: Study, experiment: Experiment, vectors: dict[str, np.ndarray], ways: Sequence[Way]
) -> dict[str, pd.DataFrame]:
    """Return for each gallery precision@K of every query (rows) by every way (columns), and `new <way>`.

    `new <way>` is the share of new photos among the answers; both are NaN where fewer than K photos may
    answer. The naive gallery leaves nothing out, since no query is in it; the other leaves out the query's
    own product.
    """
    photos, labels = study.photos, study.photos["label"].to_numpy()
    queries, window = photos.iloc[experiment.queries], study.evaluation.exclusion_window
    judged = {name: pd.DataFrame(index=queries["id"].to_numpy()) for name in GALLERIES}
    for way in ways:
        arriving = experiment.new if way.reference else experiment.new[:0]
        rows = np.concatenate([experiment.old, arriving])
        gallery = np.concatenate([vectors[way.old][experiment.old], vectors[way.network][arriving]])
        asked, among = vectors[way.network][experiment.queries], (gallery, photos.iloc[rows])
        answered = answers(asked, queries, k=K, galleries=GALLERIES, window=window, among=among)
        for name, found in answered.items():
            hits = labels[rows[found]] == labels[experiment.queries][:, None]
            for column, share in ((way.name, hits), (f"new {way.name}", found >= len(experiment.old))):
                judged[name][column] = np.where(found[:, 0] >= 0, share.mean(axis=1), np.nan)
    return judged


def way_rows(
    judged: pd.DataFrame, ways: Sequence[Way], units: pd.Series, settings: Resampling
) -> pd.DataFrame:
    """Return a row a way: precision, its paired changes, each with an interval over products.

    `change` is the difference from the way's own gallery before, `over_added` that from `added`, both query
    by query; empty where there is nothing to compare with. `judged` as from `judge_ways`, `units`: photo id
    -> product.
    """
    queries = {("precision", way.name): judged[way.name] for way in ways}
    for way in (way for way in ways if way.reference):
        queries["change", way.name] = judged[way.name] - judged[way.reference]
        if way.name != "added":
            queries["over_added", way.name] = judged[way.name] - judged["added"]
    table, names = means_with_intervals(pd.DataFrame(queries), units, settings), [way.name for way in ways]
    blocks = [
        table.loc[measure][["value", "low", "high"]].set_axis(columns, axis=1).reindex(names)
        for measure, columns in MEASURES.items()
        if measure in table.index
    ]
    shares = {name: judged[f"new {name}"].mean() for name in names}
    found = pd.concat([*blocks, table.loc["precision"][["n", "units"]]], axis=1)
    return found.assign(new_share=shares).rename_axis("way").reset_index()


def growth_rows(
    study: Study, experiment: Experiment, vectors: dict[str, np.ndarray], settings: Resampling
) -> pd.DataFrame:
    """Return the rows of one experiment for every gallery, part of the queries, and way that has vectors."""
    ways, blocks = [way for way in WAYS if way.network in vectors], []
    units = resampling_units(study.photos, window=study.evaluation.exclusion_window)
    for gallery, judged in judge_ways(study, experiment, vectors, ways).items():
        for part, mask in experiment.parts.items():
            rows = way_rows(judged[mask], ways, units, settings)
            blocks.append(rows.assign(experiment=experiment.name, queries=part, gallery=gallery))
    table = pd.concat(blocks, ignore_index=True)
    arrived = {way.name: len(experiment.new) if way.reference else 0 for way in ways}
    return table.assign(old_photos=len(experiment.old), new_photos=table["way"].map(arrived))


def shown(table: pd.DataFrame, *, experiment: str) -> pd.DataFrame:
    """Return one experiment's rows for reading, the stricter gallery: ways in words, means with intervals."""
    rows = table[(table["experiment"] == experiment) & (table["gallery"] == "product_excluded")]
    words = rows[["queries"]].assign(way=rows["way"].map(TITLES))
    for measure, columns in MEASURES.items():
        sign = "" if measure == "precision" else "+"
        line = f"{{:{sign}.3f}} ({{:{sign}.3f}} to {{:{sign}.3f}})"
        words[measure] = [line.format(*ends) if np.isfinite(ends[0]) else "" for ends in rows[columns].values]
    return words.assign(**{"new among answers": rows["new_share"].round(3)}).set_index(["queries", "way"])
