"""What index.csv shows: recall against speed, what to choose when, and what larger catalogues would cost.

The tables are computed from measured rows; projections by formula say so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import StrMethodFormatter

from solesearch.core.errors import InputError
from solesearch.figures.drawing import BLUE, QUIET, WIDTH, Chart, add_caption, checked
from solesearch.figures.registry import chart

NUMBERS = "n dim build_s query_ms_median queries_per_s_batch recall_at_5 bytes_per_vector threads"
NAMES = {
    **{"faiss": "FAISS", "evaluation": "Evaluation", "numpy": "NumPy", "scikit-learn": "scikit-learn"},
    **{"annoy": "Annoy", "hnswlib": "hnswlib", "mongodb": "MongoDB", "milvus": "Milvus"},
}
COLOURS = dict(zip(NAMES, (BLUE, "C3", "C1", "C2", "C4", "C5", "C7", "C8"), strict=True))
MARKERS = "osD^vP*Xph<>"  # one for each kind of index of an engine, from the start again where they run out
GOOD_RECALL = 0.95
EXACT = ("Flat", "brute force", "brute force on read", "FLAT")


def read_checked(index: pd.DataFrame) -> pd.DataFrame:
    """Return index.csv's rows with gaps of text as ""; raises InputError naming what is wrong."""
    checked(index, name="index", columns="engine index kernel vectors server", numbers=NUMBERS)
    if unknown := sorted(set(index["engine"].astype(str)) - set(NAMES)):
        known = ", ".join(NAMES)
        raise InputError(f"table index: engine {unknown[0]!r} is none of {known}; measure it again")
    if not index["recall_at_5"].between(0, 1).all():
        raise InputError("table index: recall is a fraction, 0 to 1; measure it again")
    rows = index.fillna({"kernel": "", "server": ""})
    return rows[~rows["kernel"].str.contains("named")]  # rows of older tables, with a kernel of our choice


# --- the chart -------------------------------------------------------------------------------------------


@chart("index")
def recall_speed(index: pd.DataFrame, *, profile: str) -> Figure:
    """Draw recall@5 against single queries a second, a panel for each size of the catalogue.

    `index`: index.csv. Engines capped at fewer vectors than the others (MongoDB) have no panel of their own
    and are left to the table. Raises InputError naming the table.
    """
    rows = read_checked(index)
    shown = rows[rows.groupby("n")["n"].transform("size") > 2]
    if shown.empty:
        raise InputError("table index: no size with three engines to compare; measure it again")
    figure, looks = Chart(figsize=(WIDTH, 3.9), layout="constrained"), series_looks(shown)
    sizes = sorted(shown["n"].unique())
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for axes, size in zip(panels, sizes, strict=True):
        draw_panel(axes, shown[shown["n"] == size], looks=looks)
    low = min(shown["recall_at_5"].min(), GOOD_RECALL)
    panels[0].set(ylabel="Recall@5 against exact search", ylim=(low - 0.1 * (1 - low) - 0.01, 1.01))
    handles = [Line2D([], [], linestyle="", label=name, **look) for name, look in looks.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    left_out = ", ".join(sorted(NAMES[name] for name in set(rows["engine"]) - set(shown["engine"])))
    parts = [
        f"{int(rows['dim'].iloc[0]):,} dimensions",
        f"{int(rows['threads'].max())} thread(s) while searching",
        "filled: exact; open: approximate",
        "as shipped, median of single queries",
        f"not drawn (fewer vectors): {left_out}" if left_out else "",
    ]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def draw_panel(axes: Axes, rows: pd.DataFrame, *, looks: dict[str, dict[str, object]]) -> None:
    """Draw the engines of one size of the catalogue."""
    speeds = 1000 / rows["query_ms_median"]
    axes.axhline(GOOD_RECALL, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
    for (_, row), speed in zip(rows.iterrows(), speeds, strict=True):
        axes.plot(speed, row["recall_at_5"], markersize=6.5, zorder=3, alpha=0.9, **looks[series_name(row)])
    axes.set(xscale="log", xlim=(speeds.min() / 2, speeds.max() * 2))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
    kinds = "all real" if rows["vectors"].iloc[0] == "real" else "with perturbed copies"
    axes.set_xlabel("Single queries a second (log scale)")
    axes.set_title(f"{int(rows['n'].iloc[0]):,} vectors,\n{kinds}")  # two lines: three panels side by side


def series_name(row: pd.Series) -> str:
    """Return engine and kind of a row, without sizes that grow with the catalogue: `FAISS IVF,Flat`."""
    return f"FAISS {family(row['index'])}" if row["engine"] == "faiss" else NAMES[row["engine"]]


def family(index: str) -> str:
    """Return a factory string without its number of lists and search effort."""
    return re.sub(r"IVF\d+", "IVF", index.split(" ", maxsplit=1)[0])


def series_looks(rows: pd.DataFrame) -> dict[str, dict[str, object]]:
    """Return series name -> marker, colour and filling, exact ones first; filled means exact."""
    series = rows.assign(name=rows.apply(series_name, axis=1), exact=rows["index"].isin(EXACT))
    series["place"] = series["engine"].map(list(NAMES).index)
    series = series.sort_values(["place", "exact"], ascending=[True, False], kind="stable")
    series = series.drop_duplicates("name")
    marks = series.groupby("engine").cumcount().map(lambda number: MARKERS[number % len(MARKERS)])
    return {
        row.name: {"color": colour, "marker": mark, "markerfacecolor": colour if row.exact else "white"}
        for row, mark in zip(series.itertuples(index=False, name="Series"), marks, strict=True)
        for colour in [COLOURS[row.engine]]
    }


# --- what to choose when ---------------------------------------------------------------------------------


def choice(index: pd.DataFrame) -> pd.DataFrame:
    """Return which index to take when, each with the measured row that speaks for it (of the largest size).

    Columns: when, take, because. Rules without a measured row are left out.
    """
    rows = read_checked(index)
    full = rows[rows["n"] == rows["n"].max()]
    flat = full[(full["engine"] == "faiss") & (full["index"] == "Flat")]
    good = full[(full["recall_at_5"] >= GOOD_RECALL) & ~full["index"].isin(EXACT)]
    at_good_recall = f"at recall@5 of {GOOD_RECALL} or more"
    small = full[full["recall_at_5"] > 0.5].sort_values("bytes_per_vector")
    quick, soon = good.sort_values("query_ms_median"), good.sort_values("build_s")
    mongodb, milvus = (
        rows[rows["engine"] == engine].sort_values("n", ascending=False) for engine in ("mongodb", "milvus")
    )
    rules = [
        ("up to 200 thousand photos, or as the yardstick", flat, "exact, nothing to train or tune: "),
        ("a page that answers one query at a time", quick, f"quickest {at_good_recall}: "),
        ("the catalogue changes every hour", soon, f"quickest to build {at_good_recall}: "),
        ("memory is short", small, "fewest bytes for each vector: "),
        ("the shop keeps its data in MongoDB anyway, and few photos", mongodb, ""),
        ("more than one machine, or several writers", milvus, ""),
    ]
    chosen = [
        (when, f"{NAMES[row['engine']]} {row['index']}", why + measured(row))
        for when, candidates, why in rules
        for _, row in candidates.head(1).iterrows()
    ]
    return pd.DataFrame(chosen, columns=["when", "take", "because"])


def measured(row: pd.Series) -> str:
    """Return a row's numbers as a phrase."""
    server = f"{row['server']}, {row['n']:,} vectors: " if row["server"] else ""
    return (
        f"{server}{row['query_ms_median']:.3g} ms, recall {row['recall_at_5']:.3f}, "
        f"{row['bytes_per_vector']:,.0f} bytes, built in {row['build_s']:.3g} s"
    )


# --- larger catalogues -----------------------------------------------------------------------------------


def projection(index: pd.DataFrame, *, sizes: Sequence[int] = (1_000_000, 50_000_000)) -> pd.DataFrame:
    """Return PROJECTED memory, single-query and build time at `sizes`, by formula from the largest row.

    Memory: bytes_per_vector x n, less what does not grow (codebooks). Exact search: ms grow as n.
    Graphs and trees: ms as log n, build as n log n.
    Inverted lists, as many as the root of n, the same number probed: ms as the root of n, build as n^1.5.
    """
    rows, projected = read_checked(index), []
    for _, row in rows[rows["n"] == rows["n"].max()].iterrows():
        rule, query_growth, build_growth = growth(row["index"])
        for size in sizes:
            slower, longer = (grows(size) / grows(row["n"]) for grows in (query_growth, build_growth))
            gigabytes = growing_bytes(rows, row) * size / 1e9
            times = (row["query_ms_median"] * slower, row["build_s"] * longer / 3600)
            projected.append((NAMES[row["engine"]], row["index"], row["n"], size, gigabytes, *times, rule))
    names = ["engine", "index", "measured_n", "n", "gigabytes", "query_ms", "build_hours", "rule"]
    return pd.DataFrame(projected, columns=names)


def growth(index: str) -> tuple[str, Callable[[float], float], Callable[[float], float]]:
    """Return (rule in words, time of a query as a function of n, time to build as a function of n)."""
    if "IVF" in index:
        return "projected: query as root n, build as n root n", np.sqrt, lambda n: n * np.sqrt(n)
    if "HNSW" in index or index.startswith("M=") or "trees" in index:
        return "projected: query as log n, build as n log n", np.log, lambda n: n * np.log(n)
    return "projected: query and build as n", float, float


def growing_bytes(rows: pd.DataFrame, row: pd.Series) -> float:
    """Return the bytes that one vector more costs: the difference to the next smaller size where measured.

    A saved index also holds rotations and codebooks, which weigh on few vectors and vanish on many.
    """
    same = (rows["engine"] == row["engine"]) & (rows["index"].map(family) == family(row["index"]))
    smaller = rows[same & (rows["n"] < row["n"])].sort_values("n").tail(1)
    if smaller.empty:
        return row["bytes_per_vector"]
    total, n = smaller["bytes_per_vector"].item() * smaller["n"].item(), smaller["n"].item()
    return (row["bytes_per_vector"] * row["n"] - total) / (row["n"] - n)
