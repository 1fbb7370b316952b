"""What a claim is held against: one profile's committed tables, filtered to one number and its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from solesearch.claims.ledger import Measure
from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.model_names import NO_WEIGHTS
from solesearch.core.paths import Paths
from solesearch.core.settings import load_section
from solesearch.photos.sources import OFFICIAL_PHOTOS, PAPER_CLASSES
from solesearch.photos.splits import UNLABELLED

RETRAINED = "+one_unit"
WHOLE_TREE = 0.99  # of the official photos: a few may be unreadable, too small, or of a tested product


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
    def of(cls, values: Sequence[float], *, queries: int = 0) -> Measured:
        """Return the mean of several values (training seeds) and their range."""
        return cls(float(np.mean(values)), float(np.min(values)), float(np.max(values)), queries)

    def over(self, other: Measured) -> Measured:
        """Return the ratio of two positive numbers; its ends pair each one's low with the other's high."""
        return Measured(self.value / other.value, self.low / other.high, self.high / other.low)


@dataclass(frozen=True)
class Evidence:
    """A profile's tables, read when first asked for."""

    paths: Paths
    synthetic: bool  # whether the photos are drawn by code
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    @classmethod
    def of(cls, profile: str) -> Evidence:
        """Open a profile; raises InputError when params.yaml does not know it."""
        return cls(Paths.of(profile), load_section(profile, "catalog")["source"] == "drawn")

    def table(self, name: str) -> pd.DataFrame:
        """Return results/<profile>/<name>.csv; raises MissingEvidenceError when there is none."""
        if name not in self.tables:
            path = self.paths.result(name)
            if not path.is_file():
                raise MissingEvidenceError(f"no table {path.relative_to(self.paths.root).as_posix()} here")
            self.tables[name] = files.read_result(path)
        return self.tables[name]

    def rows(self, name: str, where: Mapping[str, Any], columns: Sequence[str] = ()) -> pd.DataFrame:
        """Return the rows of a table whose columns equal `where`; MissingEvidenceError when there is none."""
        rows = self.table(name)
        if lacking := [column for column in (*where, *columns) if column not in rows]:
            raise InputError(f"{self.paths.result(name)}: lacks the column {lacking[0]}; run the stage again")
        for column, wanted in where.items():
            numeric = pd.api.types.is_numeric_dtype(rows[column])
            rows = rows[rows[column] == wanted if numeric else rows[column].astype(str) == str(wanted)]
        if rows.empty:
            words = ", ".join(f"{column} {wanted}" for column, wanted in where.items())
            raise MissingEvidenceError(f"{name}.csv has no row of {words} here")
        return rows

    def measure(self, measure: Measure, **where: Any) -> Measured:
        """Return the number that `measure` names, with `where` laid over its filter, and its interval.

        Precision has the bootstrap interval of its mean over the seeds, widened to the seeds' range; times
        reach from the median to the 95th percentile; everything else has the range of its rows.
        """
        rows = self.rows(measure.table, {**measure.where, **where}, [measure.column])
        column = rows[measure.column]
        if measure.statistic == "distinct":
            return Measured.of([column.nunique()])
        if measure.statistic == "sum":
            return Measured.of([column.sum()])
        if measure.statistic == "last_tenth":
            ends = rows[rows["step"] > 0.9 * rows.groupby("seed")["step"].transform("max")]
            return Measured.of(ends.groupby("seed")[measure.column].median())
        values = pd.to_numeric(column, errors="coerce")
        if not np.isfinite(values).all():
            raise MissingEvidenceError(f"{measure.table}.csv has no number there: it was not run here")
        if measure.table == "retrieval":
            return self._precision(rows, values)
        if measure.column == "median_ms":
            return Measured(float(values.mean()), float(values.mean()), float(rows["p95_ms"].mean()))
        return Measured.of(values * measure.scale)

    def _precision(self, rows: pd.DataFrame, values: pd.Series) -> Measured:
        seeds = Measured.of(values, queries=int(rows["n"].min()))
        row = rows.iloc[0]
        if row["class"] != "all":
            return seeds
        keys = {name: row[name] for name in ("model", "gallery", "metric", "k")}
        whole = self.rows("intervals", {**keys, "seed": "all"}).iloc[0]
        ends = (float(min(whole["low"], seeds.low)), float(max(whole["high"], seeds.high)))
        return Measured(seeds.value, *ends, seeds.queries)

    # --- what a profile can speak of ---------------------------------------------------------------------

    def classes(self) -> set[str]:
        """Return the classes that are judged; raises MissingEvidenceError."""
        return set(self.table("catalogue")["label"].astype(str)) - {UNLABELLED}

    def part_of_papers(self) -> str:
        """Return what part of UT-Zap50K, in the papers' classes, is here, in words; "" when it is whole."""
        classes, photos = len(self.classes()), int(self.table("catalogue")["photos"].sum())
        if classes == len(PAPER_CLASSES) and photos >= WHOLE_TREE * OFFICIAL_PHOTOS:
            return ""
        few = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight"][classes]
        return f"{few} of P's eight classes, {photos:,} of {OFFICIAL_PHOTOS:,} photos"

    def without_weights(self, model: str) -> bool:
        """Tell whether an ImageNet network has no ImageNet weights here; raises MissingEvidenceError."""
        return bool((self.rows("networks", {"model": model})["weights"].astype(str) == NO_WEIGHTS).all())

    def members(self, name: str, groups: Mapping[str, Sequence[str]]) -> list[str]:
        """Return the models that a name stands for: `retrained` and `plain` for those judged here."""
        if name not in ("retrained", "plain"):
            return list(groups.get(name, [name]))
        judged = dict.fromkeys(self.table("retrieval")["model"].astype(str))
        retrained = [model for model in judged if model.endswith(RETRAINED)]
        if not retrained:
            raise MissingEvidenceError("no retrained network was judged here")
        return retrained if name == "retrained" else [model.removesuffix(RETRAINED) for model in retrained]
