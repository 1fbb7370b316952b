"""The means of many columns with their bootstrap intervals, all resampled by the same draws."""

from __future__ import annotations

import numpy as np
import pandas as pd

from solesearch.retrieval.uncertainty import Resampling, bootstrap_intervals


def means_with_intervals(wide: pd.DataFrame, units: pd.Series, settings: Resampling) -> pd.DataFrame:
    """Return value, low, high, n of each column of `wide`, a row a column; a NaN is a query not judged.

    `wide` has a row a query, its index the photo's id; `units`: photo id -> what is resampled
    (`resampling_units`). A column without any value is left out.
    """
    wide = wide.loc[:, wide.notna().any()]
    values = wide.to_numpy(float)
    low, high = bootstrap_intervals(
        values,
        pd.factorize(units[wide.index].to_numpy())[0],
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    table = {"value": np.nanmean(values, axis=0), "low": low, "high": high}
    return pd.DataFrame({**table, "n": np.isfinite(values).sum(axis=0)}, index=wide.columns)


def with_seed_means(wide: pd.DataFrame) -> pd.DataFrame:
    """Return `wide`, columns (kind, model, seed), with the seeds' mean as columns (kind, model, "all")."""
    means = wide.T.groupby(level=[0, 1], sort=False).mean().T
    single = [(*column[:2], str(column[2])) for column in wide]
    columns = pd.MultiIndex.from_tuples([*single, *((*column, "all") for column in means)])
    return pd.concat([wide, means], axis=1).set_axis(columns, axis=1)
