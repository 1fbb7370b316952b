"""The ledger of what the two papers claim: the 39 numbers of P Table II, and the entries of claims.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from solesearch.core.errors import InputError
from solesearch.core.model_names import PROPOSED
from solesearch.core.published import published, published_row

COMPILED = "TensorFlow (tf.function)"
WHOLE = {"gallery": "naive", "metric": "precision", "k": 5, "class": "all"}
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
    needs: list[Literal["paper_classes", "handbags"]] = []
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
    rows = [(row["model"], _row_name(row["model"]), row) for row in published().to_dict("records")]
    makers = (_precision, _time, _size)
    return [make(name, model, row) for make in makers for name, model, row in rows]


def _row_name(name: str) -> str:
    return PROPOSED if name == "Proposed" else name


def _subject(name: str) -> str:
    return "The proposed model" if name == "Proposed" else name


def _precision(name: str, model: str, row: dict) -> Claim:
    value, cut = row["precision"], "" if model == PROPOSED else " without its last layer"
    return Claim(
        id=f"P-T2-precision-{name}",
        section="Table II",
        claim=f"{_subject(name)}{cut} reaches a precision of {value:.2f} on {PHOTOS}.",
        about="photographs",
        expected=f"{value:g} ± {PRECISION:g}",
        within=(value - PRECISION, value + PRECISION),
        measure=Measure(table="retrieval", column="value", where={"model": model, **WHOLE}),
        needs=["paper_classes"],
    )


def _time(name: str, model: str, row: dict) -> Claim:
    """Another machine's seconds say nothing, so times are held as multiples of the proposed model's."""
    other = "VGG16" if model == PROPOSED else PROPOSED
    beside = published_row(other)["time_s"]
    ratio = row["time_s"] / beside
    against = "VGG16" if other == "VGG16" else "the proposed model"
    return Claim(
        id=f"P-T2-time-{name}",
        section="Table II",
        claim=f"{_subject(name)} takes {row['time_s']:g} s for one photo where {against} takes {beside:g} s.",
        about="time",
        expected=f"{ratio:.4g} within {TIMES}x",
        within=(ratio / TIMES, ratio * TIMES),
        measure=Measure(
            table="latency", column="median_ms", where={"model": model, "runtime": COMPILED, "batch": 1}
        ),
        over={"model": other},
    )


def _size(name: str, model: str, row: dict) -> Claim:
    """Keras's files hold the classifier that the text removes; the proposed model's holds all networks."""
    size, what = row["size_mb"], "training checkpoint" if model == PROPOSED else "with classifier"
    return Claim(
        id=f"P-T2-size-{name}",
        section="Table II",
        claim=f"{_subject(name)} takes {size:g} MB.",
        about="size",
        expected=f"{size:g} ± {SIZES:.0%}",
        within=(size * (1 - SIZES), size * (1 + SIZES)),
        measure=Measure(
            table="sizes", column="parameters", where={"model": model, "what": what}, scale=BYTES_TO_MB
        ),
    )


@cache
def read_ledger(path: Path | None = None) -> tuple[Claim, ...]:
    """Return P Table II and the entries of claims.yaml; raises InputError that names the first bad entry."""
    path = path or Path(__file__).with_name("claims.yaml")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path.name}: cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path.name}: needs a list of claims, each beginning with `- id:`")
    claims = table_two() + [
        _claim(entry, where=f"{path.name}, entry {number}") for number, entry in enumerate(entries, start=1)
    ]
    names = [claim.id for claim in claims]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{path.name}: id {twice[0]} is there twice; rename one")
    return tuple(claims)


def _claim(entry: Any, *, where: str) -> Claim:
    try:
        return Claim.model_validate(entry)
    except ValidationError as error:
        name = entry.get("id", "without id") if isinstance(entry, dict) else "not a mapping"
        fault = error.errors()[0]
        field = ".".join(map(str, fault["loc"]))
        raise InputError(f"{where} ({name}): {field + ': ' if field else ''}{fault['msg']}") from error
