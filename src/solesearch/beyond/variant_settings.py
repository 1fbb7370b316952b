"""What decides the trainings of the ablation ladder: section `ladder` of params.yaml, without TensorFlow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from solesearch.core.errors import InputError
from solesearch.core.settings import fill, load_section

OPTIMIZERS, DECAYS = ("adam", "sgd"), ("constant", "cosine")
OTHERS = ("judging",)  # keys of the section that decide how variants are judged, not how they are trained


def _stop_unless(section: str, value: Any, **rules: tuple[bool, str]) -> None:
    """Raise InputError for the first field of `value` whose rule, (holds, range in words), does not hold."""
    for name, (holds, words) in rules.items():
        if not holds:
            raise InputError(f"params.yaml, {section}.{name}: {words}; got {getattr(value, name)!r}")


def _stop_unless_numbers(section: str, value: Any) -> None:
    kinds = {"int": int, "float": (int, float)}
    for one in dataclasses.fields(value):
        number = getattr(value, one.name)
        if one.type in kinds and (not isinstance(number, kinds[one.type]) or isinstance(number, bool)):
            raise InputError(f"params.yaml, {section}.{one.name}: {number!r} is no {one.type}")


@dataclass(frozen=True)
class IdeaSettings:
    """One value for each idea that needs one; `params.yaml` holds the values and their sources."""

    ema_decay: float
    rotation_weight: float
    contrastive_weight: float
    supervision_weight: float
    labelled_share: float

    def __post_init__(self) -> None:
        """Raise InputError for a value outside its range."""
        weights = ("rotation_weight", "contrastive_weight", "supervision_weight")
        _stop_unless_numbers("ladder.ideas", self)
        _stop_unless(
            "ladder.ideas",
            self,
            ema_decay=(0 <= self.ema_decay < 1, "from 0, below 1"),
            labelled_share=(0 < self.labelled_share <= 1, "above 0, at most 1"),
            **{name: (getattr(self, name) > 0, "above 0") for name in weights},
        )


@dataclass(frozen=True)
class ContrastiveSettings:
    """Views, loss and optimiser of contrastive training; `params.yaml` holds the values and their sources."""

    steps: int
    batch_size: int
    optimizer: str
    learning_rate: float
    learning_rate_decay: str
    weight_decay: float
    temperature: float
    hidden: int
    projection: int
    dropout: float
    norm_momentum: float
    crop_area: list[float]
    crop_aspect: float
    brightness: float
    contrast: float
    saturation: float
    channel_gain: float
    grey: float
    flip: float

    def __post_init__(self) -> None:
        """Raise InputError for a value that gives no view or no training."""
        _stop_unless_numbers("ladder.contrastive", self)
        area, share = self.crop_area, "from 0, below 1"
        ordered = len(area) == 2 and 0 < area[0] <= area[1] <= 4
        below_1 = ("weight_decay", "dropout", "norm_momentum")
        jitters = ("brightness", "contrast", "saturation", "channel_gain")
        _stop_unless(
            "ladder.contrastive",
            self,
            batch_size=(self.batch_size >= 2, "at least 2"),
            optimizer=(self.optimizer in OPTIMIZERS, " or ".join(OPTIMIZERS)),
            learning_rate_decay=(self.learning_rate_decay in DECAYS, " or ".join(DECAYS)),
            crop_area=(ordered, "two ascending shares of the photo, above 0, at most 4"),
            crop_aspect=(1 <= self.crop_aspect <= 4, "from 1 to 4"),
            **{name: (getattr(self, name) >= 1, "at least 1") for name in ("steps", "hidden", "projection")},
            **{name: (getattr(self, name) > 0, "above 0") for name in ("learning_rate", "temperature")},
            **{name: (0 <= getattr(self, name) < 1, share) for name in (*below_1, *jitters)},
            **{name: (0 <= getattr(self, name) <= 1, "from 0 to 1") for name in ("grey", "flip")},
        )


@dataclass(frozen=True)
class VariantSettings:
    """Which variants are trained, and how long; `params.yaml` holds the values and their sources."""

    variants: list[str]
    steps: int
    batch_size: int
    seeds: list[int]
    finalist_seeds: list[int]
    resume_every: int
    threads: int
    ideas: IdeaSettings
    contrastive: ContrastiveSettings

    def __post_init__(self) -> None:
        """Raise InputError for lists with nothing or something twice in them, and for numbers below 1."""
        lists = ("variants", "seeds", "finalist_seeds")
        counts = ("steps", "resume_every", "threads")
        _stop_unless_numbers("ladder", self)
        _stop_unless(
            "ladder",
            self,
            **{name: (_named_once(getattr(self, name)), "name each one once") for name in lists},
            **{name: (getattr(self, name) >= 1, "at least 1") for name in counts},
            batch_size=(self.batch_size >= 2, "at least 2 (batch normalisation)"),
        )


def _named_once(values: Any) -> bool:
    return isinstance(values, list) and len(values) >= 1 and len(set(values)) == len(values)


def read_variant_settings(profile: str, overrides: dict[str, Any] | None = None) -> VariantSettings:
    """Return a profile's section `ladder` without OTHERS, `overrides` ({"ladder.steps": 4}) laid over.

    Raises InputError that names a missing, unknown or impossible value. Names of variants are not checked
    here, see `variants.load_variant_settings`.
    """
    section = load_section(profile, "ladder", overrides)
    values = {name: value for name, value in section.items() if name not in OTHERS}
    for name, kind in (("ideas", IdeaSettings), ("contrastive", ContrastiveSettings)):
        if name in values:
            values[name] = fill(kind, values[name], where=f"{profile}.ladder.{name}")
    return fill(VariantSettings, values, where=f"{profile}.ladder")


def as_values(settings: IdeaSettings | ContrastiveSettings) -> dict[str, Any]:
    """Return the settings as a dictionary for a run's config."""
    return dataclasses.asdict(settings)
