"""What reports share: the profiles' names, Markdown, a model's precision over its seeds, times as ratios."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.model_names import NO_WEIGHTS, PROPOSED, is_plain_network
from solesearch.core.paths import Paths
from solesearch.core.published import CHAPTER_TIME_S, published_ratio, published_row

K = 5  # P's galleries show five neighbours; k itself is never stated
GALLERIES = {"naive": "naive", "product_excluded": "product excluded"}
PROFILES = {
    "sample": "synthetic",
    "paper": "UT-Zap50K",
    "chapter": "real shoes and bags",
    "photos": "your photographs",
    "smoke": "synthetic, for tests",
}
DRAWN = ("sample", "smoke")  # of the synthetic catalogue, so their pictures may be committed
TENSORFLOW, ONNX, QUANTISED = "TensorFlow (tf.function)", "ONNX Runtime", "ONNX Runtime, 8-bit weights"
NOT_RUN, NONE = "not run yet", "—"


def title(profile: str) -> str:
    """Return `sample (synthetic)`; a profile of the user's own stands alone."""
    return f"{profile} ({PROFILES[profile]})" if profile in PROFILES else profile


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Return a Markdown table; the first `left` columns are set left, the others right."""
    lines = [header, ["---" if column < left else "---:" for column in range(len(header))], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def read_result(profile: str, name: str) -> pd.DataFrame | None:
    """Return a results table of a profile; None if absent. Raises InputError for a damaged file."""
    path = Paths.of(profile).result(name)
    return files.read_result(path) if path.is_file() else None


def without_weights(profile: str) -> set[str]:
    """Return the ImageNet networks of a profile that ran without ImageNet weights, drawn at random."""
    table = read_result(profile, "networks")
    return set() if table is None else set(table.loc[table["weights"] == NO_WEIGHTS, "model"])


def precision(profile: str, *, k: int = K) -> pd.DataFrame | None:
    """Return precision@k over all queries by (model, gallery): mean, min and max of the seeds, seeds, n.

    n is the number of queries. None where the profile has not run.
    """
    table = read_result(profile, "retrieval")
    if table is None:
        return None
    rows = table[(table["metric"] == "precision") & (table["k"] == k) & (table["class"] == "all")]
    values = rows.groupby(["model", "gallery"], sort=False)
    return values.agg(
        mean=("value", "mean"),
        min=("value", "min"),
        max=("value", "max"),
        seeds=("seed", "size"),
        n=("n", "min"),
    )


def precision_words(table: pd.DataFrame | None, model: str, gallery: str = "naive") -> str:
    """Return `0.873 (0.870–0.876)` from `precision`: mean and range of the seeds; one value stands alone."""
    if table is None:
        return NOT_RUN
    if (model, gallery) not in table.index:
        return NONE
    row = table.loc[model, gallery]
    return with_range(row["mean"], row["min"], row["max"]) if row["seeds"] > 1 else f"{row['mean']:.3f}"


def with_range(value: float, low: float, high: float) -> str:
    """Return `0.873 (0.870–0.876)`."""
    return f"{value:.3f} ({low:.3f}–{high:.3f})"


def time_ratios(latency: pd.DataFrame) -> pd.DataFrame:
    """Return each network's time over the proposed model's in the same runtime, batch 1, a row a model.

    `latency`: model, runtime, batch, median_ms above 0. Indexed by model, smallest first: measured
    (TensorFlow), onnx, paper (P's 0.004 s for the proposed model), chapter (C's "around 0.04"); NaN where
    there is none. Empty without the proposed model or without a network.
    """
    keep = latency["model"].map(lambda model: model == PROPOSED or is_plain_network(model))
    medians = latency[keep & (latency["batch"] == 1)].pivot_table(
        index="model", columns="runtime", values="median_ms"
    )
    if PROPOSED not in medians.index or TENSORFLOW not in medians or len(medians) == 1:
        return pd.DataFrame(columns=["measured", "onnx", "paper", "chapter"], dtype=float)
    ratios = (medians / medians.loc[PROPOSED]).reindex(columns=[TENSORFLOW, ONNX])
    ratios.columns = ["measured", "onnx"]
    proposed = {"paper": float(published_row(PROPOSED)["time_s"]), "chapter": CHAPTER_TIME_S}
    for column, seconds in proposed.items():
        found = [published_ratio(model, proposed_s=seconds) for model in ratios.index]
        ratios[column] = np.array(found, dtype=float)  # None becomes NaN
    return ratios.sort_values("measured", kind="stable")
