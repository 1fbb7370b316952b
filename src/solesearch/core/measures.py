"""What the results tables say: a model's precision@5 over its seeds, how two compare, times as ratios."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from solesearch.core.errors import InputError
from solesearch.core.model_names import PROPOSED, is_plain_network, untrained_networks
from solesearch.core.paths import Paths
from solesearch.core.published import CHAPTER_TIME_S, published_ratio, published_row

K = 5  # P's galleries show five neighbours; k itself is never stated
GALLERIES = {"naive": "naive", "product_excluded": "product excluded"}
# profile -> (what its photos are, where a sentence places them)
PROFILES = {
    "sample": ("synthetic", "the drawn, synthetic catalogue"),
    "zappos": ("real photographs", "the real photographs"),
    "chapter": ("real shoes and bags", "the real photographs of shoes and bags"),
    "paper": ("official UT-Zap50K", "the official UT-Zap50K tree"),
    "smoke": ("synthetic, for tests", "the tests' few drawn, synthetic photos"),
}
DRAWN = ("sample", "smoke")
TENSORFLOW, ONNX = "TensorFlow (tf.function)", "ONNX Runtime"
NOT_RUN, NONE = "not run yet", "—"


def title(profile: str) -> str:
    """Return `sample (synthetic)`; a profile of the user's own stands alone."""
    return f"{profile} ({PROFILES[profile][0]})" if profile in PROFILES else profile


def read_result(profile: str, name: str, *, text: str, numbers: str) -> pd.DataFrame | None:
    """Return results/<profile>/<name>.csv, its columns `text` as str, `numbers` as float; None if absent.

    Raises InputError that names the file when a column is missing or a number is none.
    """
    path = Paths.of(profile).result(name)
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a whole CSV ({error}); run stage evaluate again") from error
    missing = [column for column in f"{text} {numbers}".split() if column not in table]
    if missing:
        raise InputError(f"{path}: lacks the columns {', '.join(missing)}; run stage evaluate again")
    for column in numbers.split():
        values = pd.to_numeric(table[column], errors="coerce")
        if values.isna().any():
            line = int(values.isna().to_numpy().argmax()) + 2
            raise InputError(f"{path}, line {line}: {column} is {table[column][line - 2]!r}, not a number")
        table[column] = values
    return table


def precision_rows(profile: str) -> pd.DataFrame | None:
    """Return a profile's precision@5 over all queries: model, seed, gallery, value, n; None if not run.

    Raises InputError for a precision outside 0..1 and for a row that is there twice.
    """
    table = read_result(profile, "retrieval", text="model gallery metric class", numbers="seed k value n")
    if table is None:
        return None
    path = Paths.of(profile).result("retrieval")
    rows = table[(table["metric"] == "precision") & (table["k"] == K) & (table["class"] == "all")]
    if not rows["value"].between(0, 1).all():
        raise InputError(f"{path}: a precision lies outside 0 to 1; run stage evaluate again")
    if rows.duplicated(["model", "seed", "gallery"]).any():
        raise InputError(f"{path}: a model, seed and gallery occur twice; run stage evaluate again")
    return rows


def untrained_rows(profile: str, rows: pd.DataFrame) -> set[str]:
    """Return the ImageNet networks among `rows` (of `precision_rows`) that have no ImageNet weights here.

    Raises InputError when networks.csv does not say of each of them whether it has.
    """
    networks = read_result(profile, "networks", text="model weights", numbers="")
    try:
        return untrained_networks(networks, rows["model"])
    except InputError as error:
        raise InputError(f"{Paths.of(profile).result('networks')}: {error}") from error


@dataclass(frozen=True)
class Measure:
    """One model's precision@5 in one gallery: a value a seed (fractions), and the number of queries."""

    values: tuple[float, ...]
    seeded: bool  # False: nothing random, one value says it all
    queries: int

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return sum(self.values) / len(self.values)

    @property
    def spread(self) -> float:
        """Largest minus smallest value over the seeds."""
        return max(self.values) - min(self.values)

    def __str__(self) -> str:
        """Return `0.873 (0.870–0.876)`; one value stands alone."""
        if len(self.values) == 1:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ({min(self.values):.3f}–{max(self.values):.3f})"


def measure(rows: pd.DataFrame, model: str, gallery: str) -> Measure | None:
    """Return a model's measure from `precision_rows`; None where the model was not judged."""
    found = rows[(rows["model"] == model) & (rows["gallery"] == gallery)].sort_values("seed")
    if found.empty:
        return None
    return Measure(tuple(found["value"]), bool((found["seed"] != 0).any()), int(found["n"].min()))


def compare(first: Measure, second: Measure) -> str:
    """Say how `first` stands to `second`: higher, lower, within (the seeds' range) or unknown (one seed).

    A gap counts only when it is larger than the range over the seeds of either, their ranges do not
    overlap, and the printed means differ.
    """
    if any(side.seeded and len(side.values) == 1 for side in (first, second)):
        return "unknown"
    gap = first.mean - second.mean
    overlap = max(first.values) >= min(second.values) and max(second.values) >= min(first.values)
    alike = f"{first.mean:.3f}" == f"{second.mean:.3f}"
    if overlap or alike or abs(gap) <= max(first.spread, second.spread):
        return "within"
    return "higher" if gap > 0 else "lower"


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
