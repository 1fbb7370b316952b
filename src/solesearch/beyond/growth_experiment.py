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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from solesearch.beyond.growth import load_growth_settings
from solesearch.core import files
from solesearch.core.checkpoints import checkpoint_file
from solesearch.core.embedding import Embedding, embedding_name, load_embedding
from solesearch.core.errors import InputError
from solesearch.core.settings import load_section
from solesearch.evaluation.study import Study, read_chosen
from solesearch.gan.continuation import (
    Continuation,
    continue_apart,
    last_discriminator,
    last_state,
    seconds_of,
)
from solesearch.photos.splits import SPLITS, UNLABELLED
from solesearch.retrieval.exact_search import ranking
from solesearch.retrieval.retrieval import GALLERIES, QUERY_BLOCK, excluded_pairs
from solesearch.retrieval.uncertainty import (
    Resampling,
    bootstrap_intervals,
    load_resampling,
    resampling_units,
)

K = 5  # answers judged; as everywhere
NEW_PHOTOS, NEW_CLASS = "new photos", "new class"
COLUMNS = [
    "experiment", "queries", "gallery", "way", "precision", "low", "high", "change", "change_low",
    "change_high", "over_added", "over_added_low", "over_added_high", "new_share", "n", "units",
    "old_photos", "new_photos", "same_as_rebuilt",
]  # fmt: skip
SECONDS = ["way", "photos_embedded", "training_s", "embedding_s", "index_s", "seconds"]


@dataclass(frozen=True)
class Way:
    """One way to let a catalogue grow: whose vectors stand for queries, old and new photos."""

    name: str
    title: str
    network: str  # embeds queries and new photos
    old: str  # whose vectors the old photos have
    grown: bool  # the new photos are in the gallery
    reference: str = ""  # the way before growing; "": this is one


WAYS = (
    Way("before", "before: old photos alone", "last", "last", grown=False),
    Way("added", "added to the index, network frozen", "last", "last", True, "before"),
    Way("retrained", "retrained on old and new, all embedded anew", "retrained", "retrained", True, "before"),
    Way("stale", "retrained, old vectors left as they were", "retrained", "last", True, "before"),
    Way("continued", "as many steps on old photos alone", "continued", "continued", True, "before"),
    Way("served_before", "chosen checkpoint, before", "served", "served", grown=False),
    Way("served_added", "chosen checkpoint, added", "served", "served", True, "served_before"),
    Way("untrained_before", "untrained, before", "untrained", "untrained", grown=False),
    Way("untrained_added", "untrained, added", "untrained", "untrained", True, "untrained_before"),
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


class GrowthTables(NamedTuple):
    """What the stage writes."""

    growth: pd.DataFrame  # COLUMNS
    seconds: pd.DataFrame  # SECONDS


# --- which photos ----------------------------------------------------------------------------------------


def experiments(photos: pd.DataFrame, *, new_class: str) -> list[Experiment]:
    """Return the two experiments on a photo table; `new_class` "" takes the last class by name.

    Raises InputError for a class that no test photo has, or one without which nothing is left.
    """
    labelled = (photos["label"] != UNLABELLED).to_numpy()
    rows = {name: np.flatnonzero((photos["split"] == name).to_numpy() & labelled) for name in SPLITS}
    labels = photos["label"].to_numpy()
    classes = sorted(set(labels[rows["test"]]))
    chosen = new_class or classes[-1]
    if chosen not in classes or len(classes) < 2:
        raise InputError(
            f"params.yaml, growth.new_class: {chosen!r} is none of {', '.join(classes)}, two or more"
        )
    known = np.sort(np.concatenate([rows["training"], rows["validation"]]))
    queries, theirs = rows["test"], labels[rows["test"]] == chosen
    arriving = labels[known] == chosen
    everyone = np.ones(len(queries), bool)
    return [
        Experiment(NEW_PHOTOS, queries, rows["training"], rows["validation"], {"all": everyone}),
        Experiment(
            NEW_CLASS, queries, known[~arriving], known[arriving], {chosen: theirs, "other classes": ~theirs}
        ),
    ]


# --- judging ---------------------------------------------------------------------------------------------


def judge_split(
    vectors: tuple[np.ndarray, np.ndarray],
    tables: tuple[pd.DataFrame, pd.DataFrame],
    *,
    new: np.ndarray,
    window: int,
    k: int = K,
) -> dict[str, np.ndarray]:
    """Return gallery name -> float64 [2, q]: precision@k and the share of new photos among the k answers.

    Takes (query, gallery) vectors float32 [q, d] and [n, d] with their photo tables, and `new` bool [n]. The
    naive gallery leaves nothing out, since no query is in it; the other leaves out the query's own product.
    NaN where fewer than k photos may answer. Raises InputError for a k beyond the gallery.
    """
    queries, gallery = (table.reset_index(drop=True) for table in tables)
    if not 1 <= k <= len(gallery):
        raise InputError(f"k must lie between 1 and {len(gallery)} (photos in the gallery); got {k}")
    both, found = pd.concat([queries, gallery], ignore_index=True), {name: [] for name in GALLERIES}
    for start in range(0, len(queries), QUERY_BLOCK):
        rows = np.arange(start, min(start + QUERY_BLOCK, len(queries)))
        masks = {
            name: excluded_pairs(both, queries=rows, gallery=name, window=window)[:, len(queries) :]
            for name in GALLERIES
        }
        most = max(int(mask.sum(axis=1).max()) for mask in masks.values())
        order = ranking(vectors[0][rows], vectors[1])[:, : k + most]
        same = gallery["label"].to_numpy()[order] == queries["label"].to_numpy()[rows][:, None]
        for name, mask in masks.items():
            allowed = ~np.take_along_axis(mask, order, axis=1)
            found[name].append(
                np.stack([first_k_mean(same, allowed, k=k), first_k_mean(new[order], allowed, k=k)])
            )
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}


def first_k_mean(values: np.ndarray, allowed: np.ndarray, *, k: int) -> np.ndarray:
    """Return the mean of each row's first k allowed values, float64 [q], from bool [q, m]; NaN below k."""
    first = np.argsort(~allowed, axis=1, kind="stable")[:, :k]
    mean = np.take_along_axis(values, first, axis=1).mean(axis=1)
    return np.where(np.take_along_axis(allowed, first, axis=1).all(axis=1), mean, np.nan)


def judge_ways(
    study: Study, experiment: Experiment, vectors: dict[str, np.ndarray], ways: Sequence[Way]
) -> dict[str, pd.DataFrame]:
    """Return for each gallery the precision of every query (rows) by every way (columns), and `new <way>`."""
    queries, window = study.photos.iloc[experiment.queries], study.evaluation.exclusion_window
    columns: dict[str, dict[str, np.ndarray]] = {name: {} for name in GALLERIES}
    for way in ways:
        arriving = experiment.new if way.grown else experiment.new[:0]
        rows = np.concatenate([experiment.old, arriving])
        held = np.concatenate([vectors[way.old][experiment.old], vectors[way.network][arriving]])
        new = np.arange(len(rows)) >= len(experiment.old)
        pair = (vectors[way.network][experiment.queries], held)
        judged = judge_split(pair, (queries, study.photos.iloc[rows]), new=new, window=window)
        for name, (precision, share) in judged.items():
            columns[name] |= {way.name: precision, f"new {way.name}": share}
    return {name: pd.DataFrame(values, index=queries["id"].to_numpy()) for name, values in columns.items()}


def way_rows(
    judged: pd.DataFrame, ways: Sequence[Way], units: np.ndarray, settings: Resampling
) -> pd.DataFrame:
    """Return a row a way: precision, its paired changes, each with an interval over products.

    `change` is the difference from the way's own gallery before, `over_added` that from `added`, both query
    by query; empty where there is nothing to compare with. `judged` as from `judge_ways`, `units` int [q].
    """
    names = [way.name for way in ways]
    values = judged[names].to_numpy(float)
    places = {name: place for place, name in enumerate(names)}
    nothing = np.full(len(judged), np.nan)
    change = [
        values[:, places[w.name]] - values[:, places[w.reference]] if w.reference else nothing for w in ways
    ]
    gain = [
        values[:, places[w.name]] - values[:, places["added"]] if w.grown and w.name != "added" else nothing
        for w in ways
    ]
    blocks = np.concatenate([values, np.stack(change, axis=1), np.stack(gain, axis=1)], axis=1)
    kept = np.isfinite(blocks).any(axis=0)
    table = np.full((3, blocks.shape[1]), np.nan)
    table[0, kept] = np.nanmean(blocks[:, kept], axis=0)
    table[1:, kept] = bootstrap_intervals(
        blocks[:, kept], pd.factorize(units)[0],
        resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed,
    )  # fmt: skip
    parts = table.reshape(3, 3, len(ways))
    heads = (("precision", "low", "high"), ("change", "change_low", "change_high"),
             ("over_added", "over_added_low", "over_added_high"))  # fmt: skip
    cells = {head: parts[line, part] for part, three in enumerate(heads) for line, head in enumerate(three)}
    finite = np.isfinite(values)
    return pd.DataFrame({
        "way": names, **cells, "new_share": [np.nanmean(judged[f"new {name}"]) for name in names],
        "n": finite.sum(axis=0), "units": [len(np.unique(units[column])) for column in finite.T],
    })  # fmt: skip


def growth_rows(
    study: Study,
    experiment: Experiment,
    vectors: dict[str, np.ndarray],
    ways: Sequence[Way],
    settings: Resampling,
) -> pd.DataFrame:
    """Return the rows of one experiment for every gallery and part of the queries."""
    all_units = resampling_units(study.photos, window=study.evaluation.exclusion_window)
    units, blocks = all_units.iloc[experiment.queries].to_numpy(), []
    for gallery, judged in judge_ways(study, experiment, vectors, ways).items():
        for part, mask in experiment.parts.items():
            rows = way_rows(judged[mask], ways, units[mask], settings)
            blocks.append(rows.assign(experiment=experiment.name, queries=part, gallery=gallery))
    grown = {way.name: way.grown for way in ways}
    table = pd.concat(blocks, ignore_index=True)
    arrived = table["way"].map(grown) * len(experiment.new)
    return table.assign(old_photos=len(experiment.old), new_photos=arrived.astype(int))


# --- vectors and seconds ---------------------------------------------------------------------------------


def train_on(study: Study, *, steps: int, overrides: dict[str, Any] | None) -> dict[str, Path]:
    """Train the first seed on, with and without the new photos; return network -> its folder.

    What an earlier or killed run left is used where nothing that decides it changed.
    """
    if not steps:
        return {}
    place, seed = study.paths.growth_experiment, study.seeds[0]
    new = place / "new_pixels.npy"
    files.write_array(new, study.split("validation")[1])
    folders = {name: place / name / "infogan" / f"seed-{seed}" for name in TRAINED_ON}
    wanted = [Continuation(folders["retrained"], steps, new), Continuation(folders["continued"], steps)]
    continue_apart(study.paths.profile, wanted, seed=seed, overrides=overrides)
    return folders


def network_vectors(
    study: Study, folders: dict[str, Path]
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, float]]]:
    """Return network -> vectors float32 [n, d] of all photos; network -> split -> seconds of embedding."""
    seed, (_, last) = study.seeds[0], last_state(study.paths, study.seeds[0])
    weights = {"last": checkpoint_file(study.paths.gan_seed(seed), last)}
    weights |= {"untrained": checkpoint_file(study.paths.gan_seed(seed), 0)}
    weights |= {name: last_discriminator(folder) for name, folder in folders.items()}
    served = load_embedding(study.paths.embeddings, embedding_name("infogan", seed))
    vectors, seconds = {"served": served.of(study.photos["id"])}, {}
    study.embedder.embed(study.pixels[:1])  # compiles, which no way is to be charged for
    for name, file in weights.items():
        embedder, found, seconds[name] = study.embedder.load(file), np.empty_like(vectors["served"]), {}
        for split in SPLITS:
            rows, started = np.flatnonzero(study.photos["split"] == split), time.perf_counter()
            found[rows] = embedder.embed(study.pixels[rows])
            seconds[name][split] = time.perf_counter() - started
        vectors[name] = found
    return vectors, seconds


class IndexCheck(NamedTuple):
    """Adding against building: seconds of each, and the share of queries with the same five answers."""

    add_s: float
    build_s: float
    same: float


def compare_index(study: Study, experiment: Experiment, vectors: np.ndarray) -> IndexCheck:
    """Add the new photos to an index of the old ones, build one of all, and ask both every query.

    The kind is the profile's (section `index`). The answers are compared as sets of ids.
    """
    from solesearch.index.faiss_index import FaissIndex  # here TensorFlow is imported already

    options = load_section(study.paths.profile, "index")
    options = {name: options[name] for name in ("factory", "effort")}
    ids = study.photos["id"].to_numpy()
    old, new, every = (
        Embedding(ids[rows].tolist(), np.ascontiguousarray(vectors[rows]))
        for rows in (experiment.old, experiment.new, np.concatenate([experiment.old, experiment.new]))
    )
    index, started = FaissIndex.build(old, **options), time.perf_counter()
    index.add(new)
    added = time.perf_counter()
    rebuilt = FaissIndex.build(every, **options)
    built = time.perf_counter()
    asked = [one.search_batch(vectors[experiment.queries], k=K) for one in (index, rebuilt)]
    same = [{n.id for n in first} == {n.id for n in second} for first, second in zip(*asked, strict=True)]
    return IndexCheck(added - started, built - added, float(np.mean(same)))


def seconds_table(
    ways: Sequence[Way],
    embedding_s: dict[str, dict[str, float]],
    training_s: dict[str, float],
    check: IndexCheck,
    counts: dict[str, int],
) -> pd.DataFrame:
    """Return what each way of growing by the validation photos costs (columns SECONDS).

    Queries are not counted. A way that keeps the old vectors embeds and adds the new photos alone.
    """
    rows = []
    for way in (way for way in ways if way.grown and way.network in embedding_s):
        anew = way.network in TRAINED_ON and way.old == way.network
        splits = ("training", "validation") if anew else ("validation",)
        embedding, index = sum(embedding_s[way.network][split] for split in splits), check.add_s
        index = check.build_s if anew else index
        training = training_s.get(way.network, 0.0)
        embedded = sum(counts[split] for split in splits)
        rows.append((way.name, embedded, training, embedding, index, training + embedding + index))
    return pd.DataFrame(rows, columns=SECONDS)


# --- the stage -------------------------------------------------------------------------------------------


def run_experiment(study: Study, overrides: dict[str, Any] | None = None) -> GrowthTables:
    """Train on, embed, judge both experiments; write growth.csv and growth_seconds.csv and return them."""
    settings = load_growth_settings(study.paths.profile, overrides)
    resampling = load_resampling(study.paths.profile, overrides)
    both = experiments(study.photos, new_class=settings.new_class)
    folders = train_on(study, steps=settings.steps, overrides=overrides)
    vectors, embedding_s = network_vectors(study, folders)
    ways = [way for way in WAYS if way.network in vectors]
    blocks = [growth_rows(study, one, vectors, ways, resampling) for one in both]
    check = compare_index(study, both[0], vectors["last"])
    table = pd.concat(blocks, ignore_index=True)
    added = (table["way"] == "added") & (table["experiment"] == NEW_PHOTOS)
    table["same_as_rebuilt"] = np.where(added, check.same, np.nan)
    training_s = {name: seconds_of(folder) for name, folder in folders.items()}
    counts = study.photos["split"].value_counts().to_dict()
    tables = GrowthTables(table[COLUMNS], seconds_table(ways, embedding_s, training_s, check, counts))
    files.write_table(study.paths.result("growth"), tables.growth)
    files.write_table(study.paths.result("growth_seconds"), tables.seconds)
    return tables


def network_steps(study: Study, *, steps: int) -> pd.DataFrame:
    """Return which step each network of the experiment has; `steps` were trained on."""
    seed, (_, last) = study.seeds[0], last_state(study.paths, study.seeds[0])
    rows = [("last", last), ("served", read_chosen(study.paths)[seed]), ("untrained", 0)]
    rows += [(name, last + steps) for name in TRAINED_ON] if steps else []
    return pd.DataFrame(rows, columns=["network", "step"]).assign(seed=seed)


def shown(table: pd.DataFrame, *, experiment: str, gallery: str = "product_excluded") -> pd.DataFrame:
    """Return one experiment's rows for reading: way in words, precision and changes with their intervals."""
    rows = table[(table["experiment"] == experiment) & (table["gallery"] == gallery)]
    cells = {
        name: [_with_interval(row, name, *ends) for row in rows.to_dict("records")]
        for name, ends in (
            ("precision", ("low", "high")),
            ("change", ("change_low", "change_high")),
            ("over_added", ("over_added_low", "over_added_high")),
        )
    }
    head = {"queries": rows["queries"].to_numpy(), "way": rows["way"].map(TITLES).to_numpy()}
    share = rows["new_share"].round(3).to_numpy()
    return pd.DataFrame({**head, **cells, "new among answers": share}).set_index(["queries", "way"])


def _with_interval(row: dict[str, Any], value: str, low: str, high: str) -> str:
    if not np.isfinite(row[value]):
        return ""
    sign = "+" if value != "precision" else ""
    return f"{row[value]:{sign}.3f} ({row[low]:{sign}.3f} to {row[high]:{sign}.3f})"
