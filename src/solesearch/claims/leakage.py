"""Where a precision may be too good: near-duplicates, the query's own product, a choice made on test photos.

The audit looks at pairs of photos that no gallery rule knows of: nearly equal ones that count as different
products, or that lie on both sides of a split. The oracle curve judges every checkpoint on the test photos;
nothing is chosen by it, it shows what choosing there would have bought.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import scipy.sparse
from matplotlib.figure import Figure

from solesearch.core import files
from solesearch.core.embedding import embedding_name, load_embedding
from solesearch.core.errors import InputError
from solesearch.evaluation.study import LEARNED, Study, model_vectors
from solesearch.figures.drawing import WIDTH, add_caption, styled
from solesearch.figures.galleries import EDGE, FOOT, GAP, Sheet, three_digits
from solesearch.retrieval.exact_search import QUERY_BLOCK, nearest
from solesearch.retrieval.retrieval import GALLERIES, evaluate_each, excluded_pairs, summarise

NEAR_FREE = "near_duplicate_excluded"
HASH, NEAREST = "perceptual hash", "nearest embedding"
OTHER_PRODUCT = "test and test, other product"
SAME_PRODUCT = "test and test, one product"
BETWEEN = {OTHER_PRODUCT: "test", "test and training": "training", "test and validation": "validation"}
AUDIT = ["kind", "between", "threshold", "pairs", "photos", "of"]
PAIRS = ["kind", "between", "first", "second", "distance"]
EFFECT = ["model", "k", "gallery", "value", "change", "n"]
ORACLE = ["seed", "step", "gallery", "k", "validation", "test", "n_validation", "n_test", "chosen", "oracle"]
ACROSS = 3  # pairs in a row of the picture


# --- pairs -----------------------------------------------------------------------------------------------


def near_duplicates(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Audit a profile; return (counts with the columns AUDIT, pairs with the columns PAIRS, worst first).

    Pairs by perceptual hash are those of stage prepare. By embedding (the proposed model, first seed), each
    test photo has its nearest photo among test photos of another product, training and validation photos;
    it counts where it is nearer than half of the pairs that show one product twice.
    """
    by_hash, by_embedding = hash_pairs(study), embedding_pairs(study)
    same = by_embedding["between"] == SAME_PRODUCT
    threshold, by_embedding = by_embedding.loc[same, "distance"].median(), by_embedding[~same]
    close = by_embedding[by_embedding["distance"] < threshold]
    limit = float(by_hash["distance"].max()) if len(by_hash) else 0.0
    test, rows = set(study.split("test")[0]["id"]), []
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
    splits = zip(first["split"], second["split"], strict=True)
    between = [" and ".join(sorted(both)) + ", other product" * (len(set(both)) == 1) for both in splits]
    across = (first["split"] != second["split"]) | ~known
    return pairs.assign(kind=HASH, between=between)[across.to_numpy()][PAIRS].reset_index(drop=True)


def embedding_pairs(study: Study) -> pd.DataFrame:
    """Return each test photo's nearest photo of its own product, of another and of the other splits.

    Columns PAIRS; distances are Euclidean, and where nothing is allowed there is no pair.
    """
    embedding = load_embedding(study.paths.embeddings, embedding_name("infogan", study.seeds[0]))
    photos = {name: study.split(name)[0] for name in BETWEEN.values()}
    vectors = {name: embedding.of(table["id"]) for name, table in photos.items()}
    test, tables = photos["test"], []
    for start in range(0, len(test), QUERY_BLOCK):
        queries = np.arange(start, min(start + QUERY_BLOCK, len(test)))
        itself, product = (
            excluded_pairs(test, queries=queries, gallery=gallery, window=study.evaluation.exclusion_window)
            for gallery in GALLERIES
        )
        excluded = {SAME_PRODUCT: itself | ~product, OTHER_PRODUCT: product}
        for between, name in {SAME_PRODUCT: "test", **BETWEEN}.items():
            mask = excluded.get(between)
            distances, rows = nearest(vectors["test"][queries], vectors[name], k=1, excluded=mask)
            second = photos[name]["id"].to_numpy()[rows[:, 0]]
            pairs = pd.DataFrame({"first": test["id"].iloc[queries], "second": second})
            tables.append(pairs.assign(kind=NEAREST, between=between, distance=distances[:, 0]))
    table = pd.concat(tables, ignore_index=True)[PAIRS]
    return table[np.isfinite(table["distance"])]


# --- galleries -------------------------------------------------------------------------------------------


def gallery_effect(study: Study, retrieval: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return each model's precision@k in each gallery, and its change from the naive one (columns EFFECT).

    naive and product_excluded are those of `retrieval` (results rows), means over the seeds. The third also
    leaves out photos that are near-duplicates of the query by perceptual hash, whatever their product.
    """
    rows = pd.concat([retrieval, *results_without_duplicates(study, pairs)], ignore_index=True)
    rows = rows.query("metric == 'precision' and `class` == 'all'")
    table = rows.groupby(["model", "k", "gallery"], sort=False).agg(value=("value", "mean"), n=("n", "min"))
    naive = table["value"].where(table.index.get_level_values("gallery") == "naive")
    change = table["value"] - naive.groupby(["model", "k"]).transform("max")
    return table.assign(change=change).reset_index()[EFFECT]


def results_without_duplicates(study: Study, pairs: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the results rows of the learned models and HOG, own products and hash pairs left out."""
    test, _ = study.split("test")
    near, rule = duplicate_matrix(test["id"], pairs[pairs["kind"] == HASH]), study.evaluation
    options = {"galleries": ["product_excluded"], "window": rule.exclusion_window, "ks": rule.ks}
    for model in (*LEARNED, "hog"):
        for seed in study.seeds if model in LEARNED else [0]:
            _, vectors = model_vectors(study, model, seed=seed)
            judged = evaluate_each(vectors, test, also_excluded=lambda rows: near[rows].toarray(), **options)
            yield summarise(judged["product_excluded"].assign(model=model, seed=seed, gallery=NEAR_FREE))


def duplicate_matrix(ids: pd.Series, pairs: pd.DataFrame) -> scipy.sparse.csr_array:
    """Return a sparse mask [n, n], True where photos i and j of `ids` are a pair in either order."""
    rows = np.stack([pd.Index(ids).get_indexer(pairs[side]) for side in ("first", "second")])
    rows = rows[:, (rows >= 0).all(axis=0)]
    both = np.concatenate([rows, rows[::-1]], axis=1)
    return scipy.sparse.csr_array((np.ones(both.shape[1], bool), both), shape=(len(ids), len(ids)))


# --- the oracle ------------------------------------------------------------------------------------------


def beside_validation(test: pd.DataFrame, checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Set the checkpoints' precision on test photos beside that on validation photos (columns ORACLE).

    `test` as study.judge_checkpoints gives it, `checkpoints` as stage embed left them. `chosen` is the step
    that validation chose, `oracle` the trained step that is best on the test photos in that row's gallery
    and k, the earliest of equals. Raises InputError where the two tables hold other checkpoints.
    """
    keys = ["seed", "step", "gallery", "k"]
    left, right = (rows.query("model == 'infogan' and metric == 'precision'") for rows in (checkpoints, test))
    left = left[[*keys, "value", "n", "chosen"]].rename(columns={"value": "validation", "n": "n_validation"})
    right = right[[*keys, "value", "n"]].rename(columns={"value": "test", "n": "n_test"})
    table = left.merge(right, on=keys, how="inner", validate="one_to_one")
    if len(table) != len(right):
        raise InputError("checkpoints.csv and the checkpoints on disk differ; run stage embed again")
    trained = table[table["step"] > 0].sort_values(["test", "step"], ascending=[False, True])
    best = trained.groupby(["seed", "gallery", "k"]).head(1).index
    return table.assign(oracle=table.index.isin(best))[ORACLE]


# --- the picture -----------------------------------------------------------------------------------------


def worst_pairs(pairs: pd.DataFrame, *, count: int) -> pd.DataFrame:
    """Return the closest of `pairs` (worst first), each once: half by hash, half by embedding."""
    both, chosen = pairs[["first", "second"]].apply(frozenset, axis=1), pairs[:0]
    for kind in (HASH, NEAREST):
        rest = pairs[(pairs["kind"] == kind) & ~both.isin(both[chosen.index])]
        chosen = pd.concat([chosen, rest[~both[rest.index].duplicated()].head(count // 2)])
    return chosen


@styled
def pair_picture(study: Study, pairs: pd.DataFrame) -> Figure:
    """Draw pairs of photos side by side, what they are below them; raises InputError without any."""
    if pairs.empty:
        raise InputError("near-duplicates: no pair to draw")
    photos = study.photos.reset_index().set_index("id")
    width = (WIDTH - 2 * EDGE - (ACROSS - 1) * 3 * GAP) / ACROSS / 2
    height = width * study.pixels.shape[1] / study.pixels.shape[2]
    sheet = Sheet(0.15 + -(-len(pairs) // ACROSS) * (height + 0.42) + FOOT)
    for number, pair in enumerate(pairs.itertuples()):
        down, across = divmod(number, ACROSS)
        top, left = 0.12 + down * (height + 0.42), EDGE + across * (2 * width + 3 * GAP)
        both = photos.loc[[pair.first, pair.second]]
        for place, row in enumerate(both["index"]):
            box = {"left": left + place * width, "top": top, "width": width, "height": height}
            sheet.show(study.pixels[row], **box).spines[:].set(visible=True, color="#b0b0b0")
        near = f"{pair.distance:.0f} bits" if pair.kind == HASH else three_digits(pair.distance)
        between = pair.between.replace(OTHER_PRODUCT, "both test")
        words = f"{near}, {between}\n{' / '.join(dict.fromkeys(both['label']))}"
        sheet.write(words, left=left, top=top + height + 0.05, va="top", fontsize=6.5)
    parts = [f"n = {len(pairs)} pairs", "bits: perceptual hash, of 64; else Euclidean distance of embeddings"]
    add_caption(sheet.figure, profile=study.paths.profile, parts=parts)
    return sheet.figure
