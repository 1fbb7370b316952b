"""Where a precision may be too good: near-duplicates, the query's own product, a choice made on test photos.

The audit looks at pairs of photos that no gallery rule knows of: nearly equal ones that count as different
products, or that lie on both sides of a split. The oracle curve judges every checkpoint on the test photos;
nothing is chosen by it, it shows what choosing there would have bought.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from solesearch.core import files
from solesearch.core.embedding import embedding_name, load_embedding
from solesearch.core.errors import InputError
from solesearch.evaluation.study import LEARNED, Study, model_vectors
from solesearch.figures.drawing import WIDTH, add_caption, styled
from solesearch.figures.galleries import EDGE, FOOT, GAP, Sheet, three_digits
from solesearch.retrieval.exact_search import ranking, squared_distances
from solesearch.retrieval.retrieval import excluded_pairs, precision_at, ranked_relevance

BLOCK = 512  # queries compared at a time
NEAR_FREE = "near_duplicate_excluded"
HASH, NEAREST = "perceptual hash", "nearest embedding"
OTHER_PRODUCT = "test and test, other product"
BETWEEN = (OTHER_PRODUCT, "test and training", "test and validation")
AUDIT = ["kind", "between", "threshold", "pairs", "photos", "of"]
PAIRS = ["kind", "between", "first", "second", "distance"]
EFFECT = ["model", "k", "gallery", "value", "change", "n"]
ORACLE = ["seed", "step", "gallery", "k", "validation", "test", "n_validation", "n_test", "chosen", "oracle"]


# --- pairs -----------------------------------------------------------------------------------------------


def near_duplicates(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Audit a profile; return (counts with the columns AUDIT, pairs with the columns PAIRS, worst first).

    Pairs by perceptual hash are those of stage prepare. By embedding (the proposed model, first seed), each
    test photo has its nearest photo among test photos of another product, training and validation photos;
    it counts where it is nearer than half of the pairs that show one product twice.
    """
    by_hash, by_embedding = hash_pairs(study), embedding_pairs(study)
    threshold = same_product_distance(study)
    close = by_embedding[by_embedding["distance"] < threshold]
    limit = float(by_hash["distance"].max()) if len(by_hash) else 0.0
    test = set(study.split("test")[0]["id"])
    rows = []
    for kind, pairs, distance in ((HASH, by_hash, limit), (NEAREST, close, threshold)):
        for between in BETWEEN:
            mine = pairs[pairs["between"] == between]
            photos = test & {*mine["first"], *mine["second"]}
            rows.append((kind, between, distance, len(mine), len(photos), len(test)))
    pairs = pd.concat([by_hash, by_embedding], ignore_index=True)
    worst_first = pairs.sort_values(["kind", "distance", "first", "second"], ignore_index=True)[PAIRS]
    return pd.DataFrame(rows, columns=AUDIT), worst_first


def hash_pairs(study: Study) -> pd.DataFrame:
    """Return the pairs of duplicates.csv that no rule keeps apart (columns PAIRS; distance in bits of 64)."""
    kept = {"dtype": {"first": str, "second": str}, "keep_default_na": False}
    pairs = files.read_table(study.paths.duplicates, made_by="stage prepare", **kept)
    photos = study.photos.set_index("id")
    first, second = (photos.loc[pairs[side]].reset_index() for side in ("first", "second"))
    apart = (first["position"] - second["position"]).abs()
    known = (first["group"] == second["group"]) & (apart <= study.evaluation.exclusion_window)
    between = [_between(*sorted(splits)) for splits in zip(first["split"], second["split"], strict=True)]
    across = (first["split"] != second["split"]) | ~known
    return pairs.assign(kind=HASH, between=between)[across.to_numpy()][PAIRS].reset_index(drop=True)


def _between(first: str, second: str) -> str:
    if first == second:
        return f"{first} and {second}, other product"
    return f"test and {first}" if second == "test" else f"{first} and {second}"


def _proposed(study: Study, photos: pd.DataFrame) -> np.ndarray:
    name = embedding_name("infogan", study.seeds[0])
    return load_embedding(study.paths.embeddings, name).of(photos["id"])


def embedding_pairs(study: Study) -> pd.DataFrame:
    """Return each test photo's nearest photo of another product, and of the other splits (columns PAIRS)."""
    test, _ = study.split("test")
    vectors, tables = _proposed(study, test), []
    for between, name in zip(BETWEEN, ("test", "training", "validation"), strict=True):
        others, _ = study.split(name)
        mask = own_products(study, test) if name == "test" else None
        nearest, distance = nearest_neighbours(vectors, _proposed(study, others), excluded=mask)
        pairs = pd.DataFrame({"first": test["id"], "second": others["id"].to_numpy()[nearest]})
        tables.append(pairs.assign(kind=NEAREST, between=between, distance=distance))
    table = pd.concat(tables, ignore_index=True)
    return table[np.isfinite(table["distance"])][PAIRS].reset_index(drop=True)


def own_products(study: Study, photos: pd.DataFrame) -> np.ndarray:
    """Return a mask [n, n], True where photo j shows photo i's own product (i itself, too)."""
    rows, window = np.arange(len(photos)), study.evaluation.exclusion_window
    return excluded_pairs(photos, queries=rows, gallery="product_excluded", window=window)


def _blocks(count: int) -> Iterator[np.ndarray]:
    yield from (np.arange(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def nearest_neighbours(
    queries: np.ndarray, gallery: np.ndarray, *, excluded: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (row, Euclidean distance) of the nearest of `gallery` [n, d] to each of `queries` [q, d].

    `excluded` is a mask [q, n]; the distance is infinite where nothing is allowed.
    """
    rows, distances = [], []
    for block in _blocks(len(queries)):
        squares = squared_distances(queries[block], gallery)
        if excluded is not None:
            squares[excluded[block]] = np.inf
        rows.append(squares.argmin(axis=1))
        distances.append(np.sqrt(squares.min(axis=1)))
    return np.concatenate(rows), np.concatenate(distances)


def same_product_distance(study: Study) -> float:
    """Return the median distance of a test photo to the nearest one of its own product; NaN without any."""
    test, _ = study.split("test")
    vectors, own = _proposed(study, test), own_products(study, test)
    np.fill_diagonal(own, False)
    _, distance = nearest_neighbours(vectors, vectors, excluded=~own)
    known = distance[np.isfinite(distance)]
    return float(np.median(known)) if len(known) else float("nan")


# --- galleries -------------------------------------------------------------------------------------------


def gallery_effect(study: Study, retrieval: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return each model's precision@k in each gallery, and its change from the naive one (columns EFFECT).

    naive and product_excluded are those of `retrieval` (results rows), means over the seeds. The third also
    leaves out photos that are near-duplicates of the query by perceptual hash, whatever their product.
    """
    rows = retrieval.query("metric == 'precision' and `class` == 'all'")
    known = rows.groupby(["model", "k", "gallery"], sort=False).agg(value=("value", "mean"), n=("n", "min"))
    stricter = judge_without_duplicates(study, pairs)
    table = pd.concat([known.reset_index(), stricter.assign(gallery=NEAR_FREE)], ignore_index=True)
    naive = table[table["gallery"] == "naive"].set_index(["model", "k"])["value"]
    base = naive.reindex(pd.MultiIndex.from_frame(table[["model", "k"]])).to_numpy()
    return table.assign(change=table["value"] - base)[EFFECT]


def judge_without_duplicates(study: Study, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return model, k, value, n of the learned models and HOG, own products and hash pairs left out."""
    test, _ = study.split("test")
    excluded = own_products(study, test) | duplicate_mask(test["id"], pairs[pairs["kind"] == HASH])
    rows = []
    for model in (*LEARNED, "hog"):
        for seed in study.seeds if model in LEARNED else [0]:
            _, vectors = model_vectors(study, model, seed=seed)
            values = precisions(vectors, test, excluded=excluded, ks=study.evaluation.ks)
            rows += [(model, k, np.nanmean(found), np.isfinite(found).sum()) for k, found in values.items()]
    seeds = pd.DataFrame(rows, columns=["model", "k", "value", "n"]).groupby(["model", "k"], sort=False)
    return seeds.agg(value=("value", "mean"), n=("n", "min")).reset_index()


def duplicate_mask(ids: pd.Series, pairs: pd.DataFrame) -> np.ndarray:
    """Return a mask [n, n], True where photos i and j of `ids` are a pair in either order."""
    row = {photo: number for number, photo in enumerate(ids)}
    mask = np.zeros((len(row), len(row)), bool)
    for first, second in zip(pairs["first"], pairs["second"], strict=True):
        if {first, second} <= row.keys():
            mask[row[first], row[second]] = mask[row[second], row[first]] = True
    return mask


def precisions(
    vectors: np.ndarray, photos: pd.DataFrame, *, excluded: np.ndarray, ks: list[int]
) -> dict[int, np.ndarray]:
    """Return k -> precision@k of every photo as a query, float64 [n]; `excluded` [n, n] as in retrieval."""
    found: dict[int, list[np.ndarray]] = {k: [] for k in ks}
    for rows in _blocks(len(vectors)):
        order = ranking(vectors[rows], vectors)
        hits = ranked_relevance(order, photos, queries=rows, excluded=excluded[rows])
        for k in ks:
            found[k].append(precision_at(*hits, k=k))
    return {k: np.concatenate(blocks) for k, blocks in found.items()}


# --- the oracle ------------------------------------------------------------------------------------------


def beside_validation(test: pd.DataFrame, checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Set the checkpoints' precision on test photos beside that on validation photos (columns ORACLE).

    `test` as study.judge_checkpoints gives it, `checkpoints` as stage embed left them. `chosen` is the step
    that validation chose, `oracle` the trained step that is best on the test photos in that row's gallery
    and k, the earliest of equals. Raises InputError where the two tables hold other checkpoints.
    """
    keys = ["seed", "step", "gallery", "k"]
    mine = "model == 'infogan' and metric == 'precision'"
    left = checkpoints.query(mine)[[*keys, "value", "n", "chosen"]]
    right = test.query(mine)[[*keys, "value", "n"]].rename(columns={"value": "test", "n": "n_test"})
    left = left.rename(columns={"value": "validation", "n": "n_validation"})
    table = left.merge(right, on=keys, how="inner", validate="one_to_one")
    if len(table) != len(right):
        raise InputError("checkpoints.csv and the checkpoints on disk differ; run stage embed again")
    trained = table[table["step"] > 0].sort_values(["test", "step"], ascending=[False, True])
    best = trained.groupby(["seed", "gallery", "k"]).head(1).index
    return table.assign(oracle=table.index.isin(best))[ORACLE]


def selection_gain(oracle: pd.DataFrame) -> pd.DataFrame:
    """Return what choosing on the test photos would have bought, a row a seed, gallery and k.

    chosen and oracle are test precisions; gain, oracle minus chosen, is never below 0; last is that of the
    last step.
    """
    keys = ["seed", "gallery", "k"]
    chosen, best = (oracle[oracle[mark]].set_index(keys)[["step", "test"]] for mark in ("chosen", "oracle"))
    table = chosen.set_axis(["chosen_step", "chosen"], axis=1)
    table = table.join(best.set_axis(["oracle_step", "oracle"], axis=1))
    last = oracle.sort_values("step").groupby(keys)["test"].last().rename("last")
    return table.assign(gain=table["oracle"] - table["chosen"]).join(last).reset_index()


# --- the picture -----------------------------------------------------------------------------------------


def worst_pairs(pairs: pd.DataFrame, *, count: int) -> pd.DataFrame:
    """Return the closest of `pairs` (worst first), each once: half by hash, half by embedding."""
    seen, chosen = set(), []
    for kind in (HASH, NEAREST):
        of_kind = []
        for row in pairs[pairs["kind"] == kind].itertuples():
            if frozenset((row.first, row.second)) not in seen and len(of_kind) < count // 2:
                seen.add(frozenset((row.first, row.second)))
                of_kind.append(row.Index)
        chosen += of_kind
    return pairs.loc[chosen]


@styled
def pair_picture(study: Study, pairs: pd.DataFrame, *, across: int = 3) -> Figure:
    """Draw pairs of photos side by side, `across` a row, what they are below them; InputError without any."""
    if pairs.empty:
        raise InputError("near-duplicates: no pair to draw")
    row = {photo: number for number, photo in enumerate(study.photos["id"])}
    width = (WIDTH - 2 * EDGE - (across - 1) * 3 * GAP) / across / 2
    height = width * study.pixels.shape[1] / study.pixels.shape[2]
    sheet = Sheet(0.15 + -(-len(pairs) // across) * (height + 0.42) + FOOT)
    for number, pair in enumerate(pairs.itertuples()):
        top = 0.12 + number // across * (height + 0.42)
        left = EDGE + number % across * (2 * width + 3 * GAP)
        both = [row[pair.first], row[pair.second]]
        for place, photo in enumerate(both):
            box = {"left": left + place * width, "top": top, "width": width, "height": height}
            axes = sheet.show(study.pixels[photo], **box)
            axes.spines[:].set(visible=True, color="#b0b0b0")
        near = f"{pair.distance:.0f} bits" if pair.kind == HASH else three_digits(pair.distance)
        labels = " / ".join(dict.fromkeys(study.photos["label"].iloc[both]))
        words = f"{near}, {pair.between.replace(OTHER_PRODUCT, 'both test')}\n{labels}"
        sheet.write(words, left=left, top=top + height + 0.05, va="top", fontsize=6.5)
    parts = [f"n = {len(pairs)} pairs", "bits: perceptual hash, of 64; else Euclidean distance of embeddings"]
    add_caption(sheet.figure, profile=study.paths.profile, parts=parts)
    return sheet.figure
