"""What a claim is held against: one profile's committed tables, filtered to one number and its interval."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.settings import load_section
from solesearch.photos.sources import PAPER_CLASSES

PROPOSED = "infogan"
STATISTICS = ("mean", "sum", "distinct", "last_tenth")
BASES = "bases of "


class MissingEvidenceError(Exception):
    """A table or a row that a claim needs is not there; the message is the reason that the report gives."""


@dataclass(frozen=True)
class Measured:
    """A number and its interval; low and high equal the value where nothing is uncertain."""

    value: float
    low: float
    high: float
    queries: int = 0  # how many queries stand behind it; 0: no retrieval

    @classmethod
    def of(cls, values: Sequence[float]) -> Measured:
        """Return the mean of several values (training seeds) and their range."""
        return cls(float(np.mean(values)), float(np.min(values)), float(np.max(values)))

    def over(self, other: Measured) -> Measured:
        """Return the ratio of two positive numbers; its ends pair each one's low with the other's high."""
        return Measured(self.value / other.value, self.low / other.high, self.high / other.low)


@dataclass(frozen=True)
class Evidence:
    """A profile's tables, read when first asked for."""

    paths: Paths
    source: str  # of the photographs: drawn, official, folders, manifest
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    @classmethod
    def of(cls, profile: str) -> Evidence:
        """Open a profile; raises InputError when params.yaml does not know it."""
        return cls(Paths.of(profile), str(load_section(profile, "catalog")["source"]))

    @property
    def synthetic(self) -> bool:
        """Tell whether the photos are drawn by code."""
        return self.source == "drawn"

    def table(self, name: str) -> pd.DataFrame:
        """Return results/<profile>/<name>.csv; raises MissingEvidenceError when there is none."""
        if name not in self.tables:
            path = self.paths.result(name)
            if not path.is_file():
                raise MissingEvidenceError(f"no table results/{self.paths.profile}/{name}.csv here")
            try:
                kept = {"keep_default_na": False, "na_values": [""]}
                self.tables[name] = files.read_table(path, made_by="the pipeline", **kept)
            except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
                raise InputError(
                    f"{path}: damaged ({error}); restore it or run the pipeline again"
                ) from error
        return self.tables[name]

    def rows(self, file: str, where: Mapping[str, Any], columns: Sequence[str] = ()) -> pd.DataFrame:
        """Return the rows of a table whose columns equal `where`; MissingEvidenceError when there is none."""
        table = rows = self.table(file)
        lacking = [name for name in (*where, *columns) if name not in table]
        if lacking:
            raise InputError(f"{self.paths.result(file)}: lacks the column {lacking[0]}; run the stage again")
        for column, wanted in where.items():
            numeric = pd.api.types.is_numeric_dtype(rows[column])
            rows = rows[rows[column] == wanted if numeric else rows[column].astype(str) == str(wanted)]
        if rows.empty:
            words = ", ".join(f"{column} {wanted}" for column, wanted in where.items())
            raise MissingEvidenceError(f"{file}.csv has no row of {words} here")
        return rows

    def measure(self, measure: Mapping[str, Any]) -> Measured:
        """Return what `measure` (file, column, where, statistic, scale) names.

        Precision has the bootstrap interval of its mean over the seeds, widened to the seeds' range; times
        reach from the median to the 95th percentile; everything else has the range of its rows.
        """
        file, column = measure["file"], measure["column"]
        rows = self.rows(file, measure.get("where", {}), [column])
        statistic = measure.get("statistic", "mean")
        if statistic == "last_tenth":
            return self._last_tenth(rows, column)
        if statistic != "mean":
            single = float(rows[column].nunique() if statistic == "distinct" else rows[column].sum())
            return Measured(single, single, single)
        values = pd.to_numeric(rows[column], errors="coerce")
        if not np.isfinite(values).all():
            raise MissingEvidenceError(f"{file}.csv has no number there: it was not run here")
        if file == "retrieval":
            return self._precision(rows, values)
        if file == "latency" and column == "median_ms":
            return Measured(float(values.mean()), float(values.mean()), float(rows["p95_ms"].mean()))
        return Measured.of(values * float(measure.get("scale", 1)))

    def _precision(self, rows: pd.DataFrame, values: pd.Series) -> Measured:
        over_seeds, row = Measured.of(values), rows.iloc[0]
        queries = int(rows["n"].min())
        if row["class"] != "all":
            return Measured(over_seeds.value, over_seeds.low, over_seeds.high, queries)
        keys = {name: row[name] for name in ("model", "gallery", "metric", "k")}
        found = self.rows("intervals", {**keys, "seed": "all"}).iloc[0]
        low, high = min(found["low"], over_seeds.low), max(found["high"], over_seeds.high)
        return Measured(over_seeds.value, float(low), float(high), queries)

    @staticmethod
    def _last_tenth(rows: pd.DataFrame, column: str) -> Measured:
        """Return the median over the last tenth of the steps, a value a seed."""
        ends = [
            found.loc[found["step"] > 0.9 * found["step"].max(), column].median()
            for _, found in rows.groupby("seed")
        ]
        return Measured.of(ends)

    # --- what a profile can speak of ---------------------------------------------------------------------

    def labels(self) -> frozenset[str]:
        """Return the classes of the profile."""
        return frozenset(self.table("catalogue")["label"].astype(str))

    def has_paper_classes(self) -> bool:
        """Tell whether the classes are the papers' eight and no other."""
        return self.labels() == frozenset(PAPER_CLASSES)

    def last_step(self) -> int:
        """Return the last training step of any seed."""
        return int(self.table("training")["step"].max())

    def untrained_network(self, model: str) -> bool:
        """Tell whether an ImageNet network has no ImageNet weights here; raises MissingEvidenceError."""
        rows = self.rows("networks", {"model": model})
        return bool((rows["weights"].astype(str) == "untrained").all())

    def members(self, names: Sequence[str]) -> list[str]:
        """Return model names; `*+one_unit` stands for what was judged, `bases of +one_unit` for its bases."""
        known = list(dict.fromkeys(self.table("retrieval")["model"].astype(str)))
        found: list[str] = []
        for name in names:
            if name.startswith(BASES):
                suffix = name.removeprefix(BASES)
                found += [model.removesuffix(suffix) for model in known if model.endswith(suffix)]
            elif "*" in name:
                found += fnmatch.filter(known, name)
            else:
                found.append(name)
        if not found:
            raise MissingEvidenceError(f"no model {' or '.join(names)} was judged here")
        return found
