"""What index.csv shows: recall against speed, what to choose when, and what larger catalogues would cost.

The chart follows figures.py. The tables are computed from measured rows; projections by formula say so.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from solesearch.errors import InputError
from solesearch.figures import BLUE, QUIET, WIDTH, Chart, add_caption, checked, counted, styled
from solesearch.index_benchmark import COPIES

NUMBERS = (
    "n dim build_s query_ms_median query_ms_p95 queries_per_s_batch recall_at_5 bytes_per_vector threads"
)
NAMES = {
    "faiss": "FAISS",
    "numpy": "NumPy",
    "scikit-learn": "scikit-learn",
    "evaluation": "Evaluation's path",
    "annoy": "Annoy",
    "hnswlib": "hnswlib",
    "mongodb": "MongoDB",
    "milvus": "Milvus",
}
LOOKS = dict(
    zip(NAMES, zip((BLUE, "C1", "C2", "C3", "C4", "C5", "C7", "C8"), "osD^vPX*", strict=True), strict=True)
)
GOOD_RECALL = 0.95
EXACT = ("Flat", "brute force", "float64 product", "brute force on read", "FLAT")


def read_checked(table: pd.DataFrame) -> pd.DataFrame:
    """Return index.csv's rows with gaps of text as ""; raises InputError naming what is wrong."""
    checked(table, name="index", columns="engine index kernel vectors server", numbers=NUMBERS)
    if not table["recall_at_5"].between(0, 1).all():
        raise InputError("table index: recall is a fraction, 0 to 1; measure it again")
    return table.fillna({"kernel": "", "server": ""})


def without_named_kernels(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of engines as shipped."""
    return table[~table["kernel"].str.contains("named")]


@styled
def recall_speed(index: pd.DataFrame, *, profile: str) -> Figure:
    """Draw recall@5 against single queries a second, a panel for each size of the catalogue.

    `index`: index.csv. Engines capped at fewer vectors than the others (MongoDB) have no panel of their own
    and are left to the table. Raises InputError naming the table.
    """
    rows = without_named_kernels(read_checked(index))
    sizes = [n for n, group in rows.groupby("n") if len(group) > 2]
    if not sizes:
        raise InputError("table index: no size with three engines to compare; measure it again")
    figure = Chart(figsize=(WIDTH, 3.5), layout="constrained")
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    shown = rows[rows["n"].isin(sizes)]
    for axes, size in zip(panels, sizes, strict=True):
        _speed_panel(axes, shown[shown["n"] == size])
    low = min(shown["recall_at_5"].min(), GOOD_RECALL)
    panels[0].set(ylabel="Recall@5 against exact search", ylim=(low - 0.1 * (1 - low) - 0.02, 1.02))
    engines = [engine for engine in NAMES if engine in set(shown["engine"])]
    handles = [
        Line2D([], [], color=LOOKS[name][0], marker=LOOKS[name][1], linestyle="", label=NAMES[name])
        for name in engines
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=min(8, len(handles)))
    left_out = sorted({NAMES.get(name, name) for name in rows["engine"]} - {NAMES[name] for name in engines})
    parts = [
        f"{int(rows['dim'].iloc[0]):,} dimensions",
        counted(rows["threads"], "threads while searching").removeprefix("n = "),
        "filled: exact; open: approximate",
        "as shipped, median of single queries",
        f"not drawn (fewer vectors): {', '.join(left_out)}" if left_out else "",
    ]
    add_caption(figure, profile=profile, parts=parts)
    return figure


def _speed_panel(axes: Axes, rows: pd.DataFrame) -> None:
    speeds = 1000 / rows["query_ms_median"]
    axes.axhline(GOOD_RECALL, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
    for (_, row), speed in zip(rows.iterrows(), speeds, strict=True):
        colour, marker = LOOKS.get(row["engine"], (QUIET, "o"))
        filled = colour if row["index"] in EXACT else "white"
        axes.plot(
            speed,
            row["recall_at_5"],
            marker=marker,
            color=colour,
            markerfacecolor=filled,
            markersize=6.5,
            zorder=3,
        )
    for name, speed, height, drop in _labels(rows.assign(speed=speeds)):
        axes.annotate(
            name,
            (speed, height),
            xytext=(0, drop),
            textcoords="offset points",
            ha="center",
            fontsize=6,
            color=QUIET,
        )
    axes.set_xscale("log")
    axes.set_xlim(speeds.min() / 2.5, speeds.max() * 2.5)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
    photos, kind = int(rows["n"].iloc[0]), rows["vectors"].iloc[0]
    axes.set(xlabel="Single queries a second (log scale)")
    axes.set_title(
        f"{photos:,} vectors" + (", most of them perturbed copies" if kind == COPIES else ", real")
    )


def _labels(rows: pd.DataFrame) -> list[tuple[str, float, float, float]]:
    """Return (name, x, y, points below) for the approximate FAISS indexes; neighbours go to lower lines."""
    labels, line = [], 0
    named = rows[(rows["engine"] == "faiss") & (rows["index"] != "Flat")].sort_values("speed")
    for _, row in named.iterrows():
        line = line + 1 if labels and row["speed"] < 4 * labels[-1][1] else 0
        short = row["index"].split(" ")[0]
        labels.append((short, row["speed"], row["recall_at_5"], -13.0 - 8 * line))
    return labels


def comparison(index: pd.DataFrame) -> pd.DataFrame:
    """Return each row beside the exact index of the same size: how many times faster, alone and in batch."""
    rows = read_checked(index)
    shipped = without_named_kernels(rows)
    flat = shipped[(shipped["engine"] == "faiss") & (shipped["index"] == "Flat")].set_index("n")
    beside = rows[rows["n"].isin(flat.index)].copy()
    exact = flat.loc[beside["n"]]
    beside["times_faster_single"] = exact["query_ms_median"].to_numpy() / beside["query_ms_median"].to_numpy()
    beside["times_faster_batch"] = (
        beside["queries_per_s_batch"].to_numpy() / exact["queries_per_s_batch"].to_numpy()
    )
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

    Memory: bytes_per_vector x n. Exact search: ms grow as n. Graphs and trees: ms as log n, build as n log n.
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
            gigabytes = row["bytes_per_vector"] * size / 1e9
            facts = (NAMES.get(row["engine"], row["engine"]), row["index"], int(old), size)
            projected.append((*facts, gigabytes, milliseconds, hours, rule))
    columns = ["engine", "index", "measured_n", "n", "gigabytes", "query_ms", "build_hours", "rule"]
    return pd.DataFrame(projected, columns=columns)


def growth(index: str):
    """Return (rule in words, time of a query as a function of n, time to build as a function of n)."""
    if index.startswith("IVF") or ",IVF" in index:
        return "projected: query as root n, build as n root n", np.sqrt, lambda n: n * np.sqrt(n)
    if index.startswith(("HNSW", "M=")) or ",HNSW" in index or "trees" in index:
        return "projected: query as log n, build as n log n", np.log, lambda n: n * np.log(n)
    return "projected: query and build as n", lambda n: n, lambda n: n
