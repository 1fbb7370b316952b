"""What index.csv shows: recall against speed, what to choose when, and what larger catalogues would cost.

The chart follows figures.py. The tables are computed from measured rows; projections by formula say so.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from solesearch.core.errors import InputError
from solesearch.figures.drawing import BLUE, QUIET, WIDTH, Chart, add_caption, checked
from solesearch.figures.registry import chart
from solesearch.index.vector_index import COPIES

NUMBERS = (
    "n dim build_s query_ms_median query_ms_p95 queries_per_s_batch recall_at_5 bytes_per_vector threads"
)
NAMES = {
    "faiss": "FAISS",
    "evaluation": "Evaluation",
    "numpy": "NumPy",
    "scikit-learn": "scikit-learn",
    "annoy": "Annoy",
    "hnswlib": "hnswlib",
    "mongodb": "MongoDB",
    "milvus": "Milvus",
}
COLOURS = dict(zip(NAMES, (BLUE, "C3", "C1", "C2", "C4", "C5", "C7", "C8"), strict=True))
MARKERS = "osD^vP*Xph<>"  # one for each kind of index of an engine
GOOD_RECALL = 0.95
EXACT = ("Flat", "brute force", "brute force on read", "FLAT")


def read_checked(table: pd.DataFrame) -> pd.DataFrame:
    """Return index.csv's rows with gaps of text as ""; raises InputError naming what is wrong."""
    checked(
        table, name="index", columns="engine index batch_times_flat kernel vectors server", numbers=NUMBERS
    )
    if not table["recall_at_5"].between(0, 1).all():
        raise InputError("table index: recall is a fraction, 0 to 1; measure it again")
    return table.fillna({"kernel": "", "server": ""})


def without_named_kernels(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of engines as shipped."""
    return table[~table["kernel"].str.contains("named")]


@chart("index")
def recall_speed(index: pd.DataFrame, *, profile: str) -> Figure:
    """Draw recall@5 against single queries a second, a panel for each size of the catalogue.

    `index`: index.csv. Engines capped at fewer vectors than the others (MongoDB) have no panel of their own
    and are left to the table. Raises InputError naming the table.
    """
    rows = without_named_kernels(read_checked(index))
    sizes = [n for n, group in rows.groupby("n") if len(group) > 2]
    if not sizes:
        raise InputError("table index: no size with three engines to compare; measure it again")
    figure = Chart(figsize=(WIDTH, 3.9), layout="constrained")
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    shown = rows[rows["n"].isin(sizes)]
    for axes, size in zip(panels, sizes, strict=True):
        _speed_panel(axes, shown[shown["n"] == size], looks=looks_of(shown))
    low = min(shown["recall_at_5"].min(), GOOD_RECALL)
    panels[0].set(ylabel="Recall@5 against exact search", ylim=(low - 0.1 * (1 - low) - 0.01, 1.01))
    handles = [Line2D([], [], linestyle="", label=name, **look) for name, look in looks_of(shown).items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    left_out = sorted(NAMES.get(name, name) for name in set(rows["engine"]) - set(shown["engine"]))
    parts = [
        f"{int(rows['dim'].iloc[0]):,} dimensions",
        f"{int(rows['threads'].max())} thread(s) while searching",
        "filled: exact; open: approximate",
        "as shipped, median of single queries",
        f"not drawn (fewer vectors): {', '.join(left_out)}" if left_out else "",
    ]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def series_name(row: pd.Series) -> str:
    """Return engine and kind of a row, without sizes that grow with the catalogue: `FAISS IVF,Flat`."""
    engine = NAMES.get(row["engine"], row["engine"])
    return f"{engine} {family(row['index'])}" if row["engine"] == "faiss" else engine


def family(index: str) -> str:
    """Return a factory string without its number of lists and search effort."""
    return re.sub(r"IVF\d+", "IVF", index.split(" ", maxsplit=1)[0])


def looks_of(rows: pd.DataFrame) -> dict[str, dict[str, object]]:
    """Return series name -> marker, colour and filling, exact ones first; filled means exact."""
    series = rows.assign(name=rows.apply(series_name, axis=1), exact=rows["index"].isin(EXACT))
    series["place"] = series["engine"].map({name: place for place, name in enumerate(NAMES)})
    series = series.sort_values(["place", "exact"], ascending=[True, False], kind="stable")
    looks: dict[str, dict[str, object]] = {}
    for _, row in series.drop_duplicates("name").iterrows():
        colour = COLOURS.get(row["engine"], QUIET)
        marker = MARKERS[sum(look["color"] == colour for look in looks.values()) % len(MARKERS)]
        filling = colour if row["exact"] else "white"
        looks[row["name"]] = {"color": colour, "marker": marker, "markerfacecolor": filling}
    return looks


def _speed_panel(axes: Axes, rows: pd.DataFrame, *, looks: dict[str, dict[str, object]]) -> None:
    speeds = 1000 / rows["query_ms_median"]
    axes.axhline(GOOD_RECALL, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
    for (_, row), speed in zip(rows.iterrows(), speeds, strict=True):
        axes.plot(speed, row["recall_at_5"], markersize=6.5, zorder=3, alpha=0.9, **looks[series_name(row)])
    axes.set_xscale("log")
    axes.set_xlim(speeds.min() / 2, speeds.max() * 2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    photos, kind = int(rows["n"].iloc[0]), rows["vectors"].iloc[0]
    axes.set(xlabel="Single queries a second (log scale)")
    kinds = "with perturbed copies" if kind == COPIES else "all real"
    axes.set_title(f"{photos:,} vectors,\n{kinds}")  # two lines: three panels stand side by side


def comparison(index: pd.DataFrame) -> pd.DataFrame:
    """Return each row beside the exact index of the same size: how many times faster, alone and in batch.

    In batch by the runs taken in turn where there are some: index.csv's batch_times_flat.
    """
    rows = read_checked(index)
    shipped = without_named_kernels(rows)
    flat = shipped[(shipped["engine"] == "faiss") & (shipped["index"] == "Flat")].set_index("n")
    beside = rows[rows["n"].isin(flat.index)].copy()
    exact = flat.loc[beside["n"]]
    beside["times_faster_single"] = exact["query_ms_median"].to_numpy() / beside["query_ms_median"].to_numpy()
    batches = beside["queries_per_s_batch"] / exact["queries_per_s_batch"].to_numpy()
    beside["times_faster_batch"] = beside["batch_times_flat"].fillna(batches)
    columns = ["engine", "index", "n", "recall_at_5", "times_faster_single", "times_faster_batch", "build_s"]
    return beside[[*columns, "bytes_per_vector", "kernel"]].reset_index(drop=True)


def choice(index: pd.DataFrame) -> pd.DataFrame:
    """Return which index to take when, each with the measured row that speaks for it (of the largest size).

    Columns: when, take, because. Rules without a measured row are left out.
    """
    rows = without_named_kernels(read_checked(index))
    full = rows[rows["n"] == rows["n"].max()]
    good = full[full["recall_at_5"] >= GOOD_RECALL]
    quick = good[~good["index"].isin(EXACT)].sort_values("query_ms_median")
    small = full[full["recall_at_5"] > 0.5].sort_values("bytes_per_vector")
    built = good[~good["index"].isin(EXACT)].sort_values("build_s")
    flat = full[(full["engine"] == "faiss") & (full["index"] == "Flat")]
    rules = [
        ("up to 200 thousand photos, or as the yardstick", flat, "exact, nothing to train or tune"),
        (
            "a page that answers one query at a time",
            quick,
            f"quickest at recall@5 of {GOOD_RECALL} or more",
        ),
        (
            "the catalogue changes every hour",
            built,
            f"quickest to build at recall@5 of {GOOD_RECALL} or more",
        ),
        ("memory is short", small, "fewest bytes for each vector"),
    ]
    chosen = [
        (when, f"{NAMES[row['engine']]} {row['index']}", f"{why}: {_figures(row)}")
        for when, found, why in rules
        for _, row in found.head(1).iterrows()
    ]
    for engine, when in (
        ("mongodb", "the shop keeps its data in MongoDB anyway, and few photos"),
        ("milvus", "more than one machine, or several writers"),
    ):
        for _, row in rows[rows["engine"] == engine].tail(1).iterrows():
            chosen.append((when, NAMES[engine], f"{row['server']}, {row['n']:,} vectors: {_figures(row)}"))
    return pd.DataFrame(chosen, columns=["when", "take", "because"])


def _figures(row: pd.Series) -> str:
    return (
        f"{row['query_ms_median']:.3g} ms, recall {row['recall_at_5']:.3f}, "
        f"{row['bytes_per_vector']:,.0f} bytes, built in {row['build_s']:.3g} s"
    )


def projection(index: pd.DataFrame, *, sizes: tuple[int, ...] = (1_000_000, 50_000_000)) -> pd.DataFrame:
    """Return PROJECTED memory, single-query and build time at `sizes`, by formula from the largest row.

    Memory: bytes_per_vector x n, less what does not grow (codebooks). Exact search: ms grow as n.
    Graphs and trees: ms as log n, build as n log n.
    Inverted lists, as many as the root of n, the same number probed: ms as the root of n, build as n^1.5.
    Columns: engine, index, measured_n, n, gigabytes, query_ms, build_hours, rule.
    """
    rows = without_named_kernels(read_checked(index))
    largest = rows[rows["n"] == rows["n"].max()]
    projected = []
    for _, row in largest.iterrows():
        rule, slower, longer = growth(row["index"])
        for size in sizes:
            old, new = float(row["n"]), float(size)
            milliseconds = row["query_ms_median"] * slower(new) / slower(old)
            hours = row["build_s"] * longer(new) / longer(old) / 3600
            gigabytes = growing_bytes(rows, row) * size / 1e9
            facts = (NAMES.get(row["engine"], row["engine"]), row["index"], int(old), size)
            projected.append((*facts, gigabytes, milliseconds, hours, rule))
    columns = ["engine", "index", "measured_n", "n", "gigabytes", "query_ms", "build_hours", "rule"]
    return pd.DataFrame(projected, columns=columns)


def growing_bytes(rows: pd.DataFrame, row: pd.Series) -> float:
    """Return the bytes that one vector more costs: the difference to the next smaller size where measured.

    A saved index also holds rotations and codebooks, which weigh on few vectors and vanish on many.
    """
    same = (rows["engine"] == row["engine"]) & (rows["index"].map(family) == family(row["index"]))
    smaller = rows[same & (rows["n"] < row["n"])]
    if smaller.empty:
        return row["bytes_per_vector"]
    other = smaller.sort_values("n").iloc[-1]
    more = row["bytes_per_vector"] * row["n"] - other["bytes_per_vector"] * other["n"]
    return more / (row["n"] - other["n"])


def growth(index: str):
    """Return (rule in words, time of a query as a function of n, time to build as a function of n)."""
    if index.startswith("IVF") or ",IVF" in index:
        return "projected: query as root n, build as n root n", np.sqrt, lambda n: n * np.sqrt(n)
    if index.startswith(("HNSW", "M=")) or ",HNSW" in index or "trees" in index:
        return "projected: query as log n, build as n log n", np.log, lambda n: n * np.log(n)
    return "projected: query and build as n", lambda n: n, lambda n: n
