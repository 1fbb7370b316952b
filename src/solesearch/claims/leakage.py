"""Where a precision may be too good: near-duplicates, the query's own product, a choice made on test photos.

The audit looks at pairs of photos that no gallery rule knows of: nearly equal ones that count as different
products, or that lie on both sides of a split. The oracle curve judges every checkpoint on the test photos;
nothing is chosen by it, it shows what choosing there would have bought.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.sparse import coo_array

from solesearch.core import files
from solesearch.core.embedding import embedding_name, load_embedding
from solesearch.core.errors import InputError
from solesearch.core.progress import Progress
from solesearch.evaluation.study import LEARNED, Study, checkpoint_steps, model_vectors, read_checkpoints
from solesearch.figures.drawing import WIDTH, add_caption, styled
from solesearch.figures.galleries import EDGE, FOOT, GAP, Sheet, three_digits
from solesearch.retrieval.exact_search import squared_distances
from solesearch.retrieval.retrieval import excluded_pairs, precision_at, summarise

BLOCK = 512  # queries compared at a time
NEAR_FREE = "near_duplicate_excluded"
HASH, NEAREST = "perceptual hash", "nearest embedding"
OTHER_PRODUCT = "test and test, other product"
AUDIT = ["kind", "between", "threshold", "pairs", "photos", "of"]
PAIRS = ["kind", "between", "first", "second", "distance"]
EFFECT = ["model", "k", "gallery", "value", "change", "n"]
ORACLE = ["seed", "step", "gallery", "k", "validation", "test", "n_validation", "n_test", "chosen", "oracle"]


# --- pairs -----------------------------------------------------------------------------------------------


def near_duplicates(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Audit a profile; return (counts with the columns AUDIT, pairs with the columns PAIRS, worst first).

    The pairs, which name photos, are kept in runs/<profile>/claims/pairs.csv; the counts are for results.

    Pairs by perceptual hash are those of stage prepare. By embedding (the proposed model, first seed), each
    test photo has its nearest photo among test photos of another product, training and validation photos;
    it counts where it is nearer than half of the pairs that show one product twice.
    """
    by_hash, by_embedding = hash_pairs(study), embedding_pairs(study)
    threshold = same_product_distance(study)
    close = by_embedding[by_embedding["distance"] < threshold]
    test = int((study.photos["split"] == "test").sum())
    wanted = (OTHER_PRODUCT, "test and training", "test and validation")
    rows = []
    for kind, pairs, limit in ((HASH, by_hash, _hash_limit(by_hash)), (NEAREST, close, threshold)):
        for between in wanted:
            found = pairs[pairs["between"] == between]
            rows.append((kind, between, limit, len(found), _test_photos(study, found), test))
    pairs = pd.concat([by_hash, by_embedding], ignore_index=True)
    order = pairs.sort_values(["kind", "distance", "first", "second"], ignore_index=True)[PAIRS]
    files.write_table(study.paths.claims / "pairs.csv", order)
    return pd.DataFrame(rows, columns=AUDIT), order


def _hash_limit(pairs: pd.DataFrame) -> float:
    return float(pairs["distance"].max()) if len(pairs) else 0.0


def _test_photos(study: Study, pairs: pd.DataFrame) -> int:
    test = set(study.photos.loc[study.photos["split"] == "test", "id"])
    return len(test & {*pairs["first"], *pairs["second"]})


def hash_pairs(study: Study) -> pd.DataFrame:
    """Return the pairs of duplicates.csv that no rule keeps apart (columns PAIRS; distance in bits of 64)."""
    kept = {"dtype": {"first": str, "second": str}, "keep_default_na": False}
    found = files.read_table(study.paths.duplicates, made_by="stage prepare", **kept)
    row = pd.Series(np.arange(len(study.photos)), index=study.photos["id"])
    first, second = row[found["first"]].to_numpy(), row[found["second"]].to_numpy()
    photos, window = study.photos, study.evaluation.exclusion_window
    split, group = photos["split"].to_numpy(), photos["group"].to_numpy()
    apart = np.abs(photos["position"].to_numpy()[first] - photos["position"].to_numpy()[second])
    same = (group[first] == group[second]) & (apart <= window)
    between = [
        _between(*sorted((split[i], split[j]))) if split[i] != split[j] or not known else ""
        for i, j, known in zip(first, second, same, strict=True)
    ]
    found = found.assign(kind=HASH, between=between)
    return found[found["between"] != ""][PAIRS].reset_index(drop=True)


def _between(first: str, second: str) -> str:
    if first == second:
        return OTHER_PRODUCT if first == "test" else f"{first} and {second}, other product"
    return f"test and {first}" if second == "test" else f"{first} and {second}"


def _proposed(study: Study, photos: pd.DataFrame) -> np.ndarray:
    name = embedding_name("infogan", study.seeds[0])
    return load_embedding(study.paths.embeddings, name).of(photos["id"])


def embedding_pairs(study: Study) -> pd.DataFrame:
    """Return each test photo's nearest photo of another product, and of the other splits (columns PAIRS)."""
    test, _ = study.split("test")
    vectors, tables = _proposed(study, test), []
    for name in ("test", "training", "validation"):
        others, _ = study.split(name)
        between = OTHER_PRODUCT if name == "test" else f"test and {name}"
        mask = _own_products(study, test) if name == "test" else None
        nearest, distance = nearest_neighbours(vectors, _proposed(study, others), excluded=mask)
        found = pd.DataFrame({"first": test["id"], "second": others["id"].to_numpy()[nearest]})
        tables.append(found.assign(kind=NEAREST, between=between, distance=distance))
    table = pd.concat(tables, ignore_index=True)
    return table[np.isfinite(table["distance"])][PAIRS].reset_index(drop=True)


def _own_products(study: Study, photos: pd.DataFrame) -> Callable[[np.ndarray], np.ndarray]:
    window = study.evaluation.exclusion_window
    return lambda rows: excluded_pairs(photos, queries=rows, gallery="product_excluded", window=window)


def nearest_neighbours(
    queries: np.ndarray, gallery: np.ndarray, *, excluded: Callable[[np.ndarray], np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (row, Euclidean distance) of the nearest of `gallery` [n, d] to each of `queries` [q, d].

    `excluded` gives a mask [b, n] for query rows [b]; the distance is infinite where nothing is allowed.
    """
    rows, distances = [], []
    for start in range(0, len(queries), BLOCK):
        chosen = np.arange(start, min(start + BLOCK, len(queries)))
        squares = squared_distances(queries[chosen], gallery)
        if excluded is not None:
            squares[excluded(chosen)] = np.inf
        rows.append(squares.argmin(axis=1))
        distances.append(np.sqrt(squares.min(axis=1)))
    return np.concatenate(rows), np.concatenate(distances)


def same_product_distance(study: Study) -> float:
    """Return the median distance of a test photo to the nearest one of its own product; NaN without any."""
    test, _ = study.split("test")
    vectors, own = _proposed(study, test), _own_products(study, test)
    _, distance = nearest_neighbours(
        vectors, vectors, excluded=lambda rows: ~own(rows) | (rows[:, None] == np.arange(len(test))[None, :])
    )
    known = distance[np.isfinite(distance)]
    return float(np.median(known)) if len(known) else float("nan")


# --- galleries -------------------------------------------------------------------------------------------


def gallery_effect(study: Study, retrieval: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return each model's precision@k in each gallery, and its change from the naive one (columns EFFECT).

    naive and product_excluded are those of `retrieval` (results rows), means over the seeds. The third also
    leaves out photos that are near-duplicates of the query by perceptual hash, whatever their product.
    """
    rows = retrieval[(retrieval["metric"] == "precision") & (retrieval["class"] == "all")]
    known = rows.groupby(["model", "k", "gallery"], sort=False).agg(value=("value", "mean"), n=("n", "min"))
    stricter = judge_without_duplicates(study, pairs)
    table = pd.concat([known.reset_index(), stricter.assign(gallery=NEAR_FREE)], ignore_index=True)
    naive = table[table["gallery"] == "naive"].set_index(["model", "k"])["value"]
    base = naive.reindex(pd.MultiIndex.from_frame(table[["model", "k"]])).to_numpy()
    return table.assign(change=table["value"] - base)[EFFECT]


def judge_without_duplicates(study: Study, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return model, k, value, n of the learned models and HOG, own products and hash pairs left out."""
    test, _ = study.split("test")
    mask = duplicate_mask(test["id"], pairs[pairs["kind"] == HASH])
    own, rows = _own_products(study, test), []
    for model in (*LEARNED, "hog"):
        seeds = study.seeds if model in LEARNED else [0]
        for seed in seeds:
            _, vectors = model_vectors(study, model, seed=seed)
            values = precisions(
                vectors,
                test["label"].to_numpy(),
                excluded=lambda chosen: own(chosen) | mask[chosen].toarray(),
                ks=study.evaluation.ks,
            )
            rows += [(model, k, np.nanmean(found), np.isfinite(found).sum()) for k, found in values.items()]
    table = pd.DataFrame(rows, columns=["model", "k", "value", "n"])
    return table.groupby(["model", "k"], sort=False, as_index=False).agg(
        value=("value", "mean"), n=("n", "min")
    )


def duplicate_mask(ids: pd.Series, pairs: pd.DataFrame):
    """Return a sparse bool matrix [n, n], true where photos i and j of `ids` are a pair in either order."""
    row = {photo: number for number, photo in enumerate(ids)}
    known = [
        (row[i], row[j]) for i, j in zip(pairs["first"], pairs["second"], strict=True) if {i, j} <= row.keys()
    ]
    places = np.array([*known, *((j, i) for i, j in known)], dtype=int).reshape(-1, 2)
    shape = (len(row), len(row))
    return coo_array((np.ones(len(places), bool), (places[:, 0], places[:, 1])), shape=shape).tocsr()


def precisions(
    vectors: np.ndarray,
    labels: np.ndarray,
    *,
    excluded: Callable[[np.ndarray], np.ndarray],
    ks: Sequence[int],
) -> dict[int, np.ndarray]:
    """Return k -> precision@k of every photo as a query, float64 [n]; `excluded` as in nearest_neighbours."""
    found: dict[int, list[np.ndarray]] = {k: [] for k in ks}
    for start in range(0, len(vectors), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(vectors)))
        distances, mask = squared_distances(vectors[rows], vectors), excluded(rows)
        distances[mask] = np.inf
        order = np.argsort(distances, axis=1, kind="stable")[:, : max(ks)]
        allowed = ~np.take_along_axis(mask, order, axis=1)
        relevant = (labels[order] == labels[rows][:, None]) & allowed
        for k in ks:
            found[k].append(precision_at(relevant, allowed, k=k))
    return {k: np.concatenate(blocks) for k, blocks in found.items()}


# --- the oracle ------------------------------------------------------------------------------------------


def oracle_curve(study: Study) -> pd.DataFrame:
    """Judge every checkpoint on the test photos too (columns ORACLE); never used for a choice.

    `chosen` is the step that validation chose, `oracle` the trained step that is best on the test photos in
    that row's gallery and k, the earliest of equals.
    """
    photos, pixels = study.split("test")
    tasks = [(seed, step) for seed in study.seeds for step in checkpoint_steps(study.paths.gan_seed(seed))]
    progress, rows = Progress("judging checkpoints on test", total=len(tasks), unit="checkpoint"), []
    for number, (seed, step) in enumerate(tasks, start=1):
        vectors = study.discriminator(seed=seed, step=step).embed(pixels)
        for gallery, judged in study.judge(vectors, photos).items():
            table = summarise(judged, model="infogan", seed=seed, gallery=gallery, ks=study.evaluation.ks)
            rows.append(table[(table["class"] == "all") & (table["metric"] == "precision")].assign(step=step))
        progress.update(number)
    return beside_validation(pd.concat(rows, ignore_index=True), read_checkpoints(study))


def beside_validation(test: pd.DataFrame, checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Return `oracle_curve`'s table from test rows (seed, step, gallery, k, value, n) and checkpoints.csv."""
    keys = ["seed", "step", "gallery", "k"]
    mine = checkpoints[(checkpoints["model"] == "infogan") & (checkpoints["metric"] == "precision")]
    left = mine[[*keys, "value", "n", "chosen"]].rename(columns={"value": "validation", "n": "n_validation"})
    right = test[[*keys, "value", "n"]].rename(columns={"value": "test", "n": "n_test"})
    table = left.merge(right, on=keys, how="inner", validate="one_to_one")
    if len(table) != len(right):
        raise InputError("checkpoints.csv and the checkpoints on disk differ; run stage embed again")
    trained = table[table["step"] > 0].sort_values(["test", "step"], ascending=[False, True])
    best = trained.groupby(["seed", "gallery", "k"]).head(1).index
    return table.assign(oracle=table.index.isin(best))[ORACLE]


def selection_gain(oracle: pd.DataFrame) -> pd.DataFrame:
    """Return what choosing on the test photos would have bought, a row a seed, gallery and k.

    Columns: seed, gallery, k, chosen_step, chosen (test precision of the step that validation chose),
    oracle_step, oracle, gain (oracle minus chosen, never below 0), last (test precision of the last step).
    """
    rows = []
    for (seed, gallery, k), table in oracle.groupby(["seed", "gallery", "k"], sort=False):
        [chosen], [best] = (
            table[table[mark].astype(bool)].to_dict("records") for mark in ("chosen", "oracle")
        )
        last = table.loc[table["step"].idxmax(), "test"]
        steps = (chosen["step"], chosen["test"], best["step"], best["test"])
        rows.append((seed, gallery, k, *steps, best["test"] - chosen["test"], last))
    names = ["seed", "gallery", "k", "chosen_step", "chosen", "oracle_step", "oracle", "gain", "last"]
    return pd.DataFrame(rows, columns=names)


# --- the picture -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """Two photos, uint8 [h, w, 3] each, and the words below them."""

    first: np.ndarray
    second: np.ndarray
    words: str


def worst_pairs(study: Study, pairs: pd.DataFrame, *, count: int) -> list[Pair]:
    """Return the closest pairs: half of them by hash, half by embedding, as far as there are any."""
    row = pd.Series(np.arange(len(study.photos)), index=study.photos["id"])
    labels = study.photos["label"].to_numpy()
    seen, chosen = set(), []
    for kind in (HASH, NEAREST):
        for found in pairs[pairs["kind"] == kind].to_dict("records"):
            key = frozenset((found["first"], found["second"]))
            if key not in seen and sum(pair["kind"] == kind for pair in chosen) < count // 2:
                seen.add(key)
                chosen.append(found)
    return [_pair(study.pixels, labels, row[found["first"]], row[found["second"]], found) for found in chosen]


def _pair(pixels: np.ndarray, labels: np.ndarray, first: int, second: int, found: dict) -> Pair:
    near = f"{found['distance']:.0f} bits" if found["kind"] == HASH else three_digits(found["distance"])
    names = labels[first] if labels[first] == labels[second] else f"{labels[first]} / {labels[second]}"
    where = found["between"].replace("test and test, other product", "both test")
    return Pair(np.asarray(pixels[first]), np.asarray(pixels[second]), f"{near}, {where}\n{names}")


@styled
def pair_picture(pairs: Sequence[Pair], *, profile: str, across: int = 3) -> Figure:
    """Draw pairs of photos side by side, `across` a row, what they are below them; InputError without any."""
    if not pairs:
        raise InputError("near-duplicates: no pair to draw")
    width = (WIDTH - 2 * EDGE - (across - 1) * 3 * GAP) / across / 2
    height = width * max(pair.first.shape[0] / pair.first.shape[1] for pair in pairs)
    lines = -(-len(pairs) // across)
    sheet = Sheet(0.15 + lines * (height + 0.42) + FOOT)
    for number, pair in enumerate(pairs):
        top = 0.12 + number // across * (height + 0.42)
        left = EDGE + number % across * (2 * width + 3 * GAP)
        for place, photo in enumerate((pair.first, pair.second)):
            axes = sheet.show(photo, left=left + place * width, top=top, width=width, height=height)
            axes.spines[:].set(visible=True, color="#b0b0b0")
        sheet.write(pair.words, left=left, top=top + height + 0.05, va="top", fontsize=6.5)
    parts = [f"n = {len(pairs)} pairs", "bits: perceptual hash, of 64; else Euclidean distance of embeddings"]
    add_caption(sheet.figure, profile=profile, parts=parts)
    return sheet.figure
