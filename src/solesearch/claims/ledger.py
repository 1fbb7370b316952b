"""The ledger of what the two papers claim: the 39 numbers of P Table II, and the entries of claims.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from solesearch.core.errors import InputError
from solesearch.core.measures import TENSORFLOW
from solesearch.core.model_names import PROPOSED
from solesearch.core.published import PROPOSED_IN_PAPER, published
from solesearch.core.settings import first_problem

WHOLE = {"gallery": "naive", "metric": "precision", "k": 5, "class": "all"}
ALONE = {"runtime": TENSORFLOW, "batch": 1}
PHOTOS = "10,000 UT-Zap50K photos of eight classes"
BYTES_TO_MB = 4e-6  # of a float32 parameter
PRECISION, TIMES, SIZES = 0.02, 2, 0.1  # tolerances of Table II: absolute, a factor, a share
# table of a measure -> (the stage that writes it, the figure that shows it)
STAGES = {
    "retrieval": ("evaluate", "precision_bars"),
    "differences": ("evaluate", "differences"),
    "checkpoints": ("evaluate", "checkpoint_curve"),
    "training": ("evaluate", "loss_curves"),
    "catalogue": ("evaluate", "photos_per_class"),
    "latency": ("networks", "time_comparison"),
    "sizes": ("networks", ""),
    "index": ("index", ""),
    "mechanics": ("claims", ""),
}


class Entry(BaseModel):
    """An immutable entry that refuses unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Measure(Entry):
    """Where a number stands: the rows of a results table that equal `where`, and how to sum them up."""

    table: Literal[tuple(STAGES)]
    column: str
    where: dict[str, Any] = {}
    statistic: Literal["mean", "sum", "distinct", "last_tenth"] = "mean"
    scale: float = 1.0


class Claim(Entry):
    """One line of the ledger; the head of claims.yaml explains the fields."""

    id: str = Field(pattern="^[PC]-")
    section: str = Field(min_length=1)
    claim: str = Field(min_length=1)
    about: Literal["photographs", "code", "time", "size", "elsewhere"]
    expected: float | str
    measure: Measure | None = None
    within: tuple[float, float] | None = None
    over: dict[str, Any] = {}
    order: list[str | list[str]] = []
    groups: dict[str, list[str]] = {}
    paired: list[str] = []
    correlation: dict[str, float] = {}
    ranked: bool = True
    needs: list[Literal["paper_classes", "whole_tree", "handbags"]] = []
    after_step: int = 0
    figure: str | None = None
    reason: str = ""

    @model_validator(mode="after")
    def _one_check(self) -> Claim:
        checks = [name for name in ("order", "paired", "correlation", "reason") if getattr(self, name)]
        if len(checks) > 1 or (checks and self.within):
            raise ValueError(f"one check a claim, not {' and '.join(checks)}")
        if not checks and self.measure and self.within is None and isinstance(self.expected, str):
            raise ValueError(f"expected {self.expected!r} is no number, so `within` has to say what agrees")
        if not (self.measure or self.paired or self.reason):
            raise ValueError("needs measure, paired or reason")
        return self

    @property
    def paper(self) -> str:
        """P or C."""
        return self.id[0]

    @property
    def tiers(self) -> list[list[str]]:
        """The order's names, best first; those of one tier are not compared with each other."""
        return [[tier] if isinstance(tier, str) else tier for tier in self.order]

    @property
    def span(self) -> tuple[float, float]:
        """What the measured interval must lie within."""
        return self.within or (float(self.expected), float(self.expected))

    @property
    def table(self) -> str:
        """The table that the claim is measured by; "" where nothing is."""
        return self.measure.table if self.measure else "differences" if self.paired else ""

    @property
    def shown_in(self) -> str:
        """Stem of the figure below figures/<profile>/; "" where there is none."""
        return STAGES.get(self.table, ("", ""))[1] if self.figure is None else self.figure

    @property
    def stage(self) -> str:
        """The stage that computes what the claim is measured by."""
        return STAGES.get(self.table, ("claims", ""))[0]


def table_two() -> list[Claim]:
    """Return the 39 claims of P Table II: precision, time and size of thirteen models."""
    rows = published().set_index("model").to_dict("index")
    printed = {name: _printed(rows, name) for name in rows}
    abouts = {"precision": "photographs", "time": "time", "size": "size"}
    return [
        Claim(id=f"P-T2-{kind}-{name}", section="Table II", about=about, **printed[name][kind])
        for kind, about in abouts.items()
        for name in rows
    ]


def _printed(rows: dict[str, dict], name: str) -> dict[str, dict]:
    """Return what the row of one model claims, by kind.

    Another machine's seconds say nothing, so times are held as multiples of the proposed model's. Keras's
    files hold the classifier that the text removes; the proposed model's holds all networks.
    """
    own, row = name == PROPOSED_IN_PAPER, rows[name]
    model, subject = (PROPOSED, "The proposed model") if own else (name, name)
    other, against = ("VGG16", "VGG16") if own else (PROPOSED, "the proposed model")
    cut, what = ("", "training checkpoint") if own else (" without its last layer", "with classifier")
    precision, size, seconds = row["precision"], row["size_mb"], row["time_s"]
    beside = rows["VGG16" if own else PROPOSED_IN_PAPER]["time_s"]

    def within(low: float, high: float, table: str, column: str, scale: float = 1.0, **where: Any) -> dict:
        measure = {"table": table, "column": column, "scale": scale, "where": {"model": model, **where}}
        return {"within": (low, high), "measure": measure}

    return {
        "precision": {
            "claim": f"{subject}{cut} reaches a precision of {precision:.2f} on {PHOTOS}.",
            "expected": f"{precision:g} ± {PRECISION:g}",
            "needs": ["paper_classes"],
            **within(precision - PRECISION, precision + PRECISION, "retrieval", "value", **WHOLE),
        },
        "time": {
            "claim": f"{subject} takes {seconds:g} s for one photo where {against} takes {beside:g} s.",
            "expected": f"{seconds / beside:.4g} within {TIMES}x",
            "over": {"model": other},
            **within(seconds / beside / TIMES, seconds / beside * TIMES, "latency", "median_ms", **ALONE),
        },
        "size": {
            "claim": f"{subject} takes {size:g} MB.",
            "expected": f"{size:g} ± {SIZES:.0%}",
            **within(size * (1 - SIZES), size * (1 + SIZES), "sizes", "parameters", BYTES_TO_MB, what=what),
        },
    }


@cache
def read_ledger(path: Path | None = None) -> tuple[Claim, ...]:
    """Return P Table II and the entries of claims.yaml; raises InputError that names the first bad entry."""
    path = path or Path(__file__).with_name("claims.yaml")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path.name}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    try:
        claims = [*table_two(), *TypeAdapter(list[Claim]).validate_python(entries)]
    except ValidationError as error:
        place, words, _ = first_problem(error)
        raise InputError(f"{path.name}{_where(place, entries)}: {words}") from error
    names = [claim.id for claim in claims]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path.name}: id {twice[0]} is there twice; rename one")
    return tuple(claims)


def _where(place: tuple[int | str, ...], entries: list) -> str:
    """Return `, entry 3 (P-fastest): measure.column`."""
    if not place:
        return ""
    number, *field = place
    name = entries[number].get("id", "without id") if isinstance(entries[number], dict) else "not a mapping"
    return f", entry {number + 1} ({name})" + (f": {'.'.join(map(str, field))}" if field else "")
