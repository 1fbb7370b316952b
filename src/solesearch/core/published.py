"""What the papers print about the thirteen models: P Table II, and C's other time for the proposed one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pandas as pd

from solesearch.core.model_names import PROPOSED, network_row, published_networks

PROPOSED_IN_PAPER = "Proposed"
CHAPTER_TIME_S = 0.04  # C: the proposed model takes "around 0.04" seconds, ten times what P Table II prints


@cache
def published() -> pd.DataFrame:
    """Return P Table II, one row a model: model, size_mb, time_s, precision (a fraction), source.

    Read once for all callers, so nobody changes it.
    """
    return pd.read_csv(Path(__file__).with_name("published.csv"))


def published_row(model: str) -> pd.Series | None:
    """Return what P prints for `model` (`infogan` is its proposed one); None where it prints nothing."""
    wanted = PROPOSED_IN_PAPER if model == PROPOSED else model
    table = published()
    found = table[table["model"].str.lower() == wanted.lower().replace("_", "")]
    return None if found.empty else found.iloc[0]


def published_ratio(model: str, *, proposed_s: float) -> float | None:
    """Return P's time of `model` over `proposed_s` seconds of the proposed one; None where P prints none.

    The proposed model's own ratio is 1 by definition.
    """
    row = published_row(model)
    if row is None:
        return None
    return 1.0 if model == PROPOSED else float(row["time_s"]) / proposed_s


def published_by_scaling() -> pd.DataFrame:
    """Return P's precision of the twelve networks with the input scaling of each: model, precision, scaling.

    Scaling (caffe, tf, torch) as in keras.applications, sorted by it, in P's order within each.
    """
    table = published()[published()["model"].map(network_row).notna()]
    table = table.assign(scaling=table["model"].map(published_networks()["scaling"]))
    return table.sort_values("scaling", kind="stable", ignore_index=True)[["model", "precision", "scaling"]]
