"""What decides the trainings of the ablation ladder: section `ladder` of params.yaml, without TensorFlow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from solesearch.errors import InputError
from solesearch.settings import fill, load_section

OPTIMIZERS, DECAYS = ("adam", "sgd"), ("constant", "cosine")
OTHERS = ("judging",)  # keys of the section that decide how variants are judged, not how they are trained


def _stop_unless(section: str, value: Any, **rules: bool) -> None:
    for name, holds in rules.items():
        if not holds:
            raise InputError(
                f"params.yaml, {section}.{name}: {getattr(value, name)!r} is not possible; "
                "the comment beside it names the range"
            )


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
        _stop_unless(
            "ladder.ideas",
            self,
            ema_decay=0 <= self.ema_decay < 1,
            labelled_share=0 < self.labelled_share <= 1,
            **{name: getattr(self, name) > 0 for name in weights},
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
        area, jitters = self.crop_area, ("brightness", "contrast", "saturation", "channel_gain")
        _stop_unless(
            "ladder.contrastive",
            self,
            steps=self.steps >= 1,
            batch_size=self.batch_size >= 2,
            optimizer=self.optimizer in OPTIMIZERS,
            learning_rate=self.learning_rate > 0,
            learning_rate_decay=self.learning_rate_decay in DECAYS,
            weight_decay=0 <= self.weight_decay < 1,
            temperature=self.temperature > 0,
            hidden=self.hidden >= 1,
            projection=self.projection >= 1,
            dropout=0 <= self.dropout < 1,
            norm_momentum=0 <= self.norm_momentum < 1,
            crop_area=len(area) == 2 and 0 < area[0] <= area[1] <= 4,
            crop_aspect=1 <= self.crop_aspect <= 4,
            **{name: 0 <= getattr(self, name) < 1 for name in jitters},
            grey=0 <= self.grey <= 1,
            flip=0 <= self.flip <= 1,
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
        _stop_unless(
            "ladder",
            self,
            **{name: _named_once(getattr(self, name)) for name in lists},
            **{name: getattr(self, name) >= 1 for name in ("steps", "resume_every", "threads")},
            batch_size=self.batch_size >= 2,
        )


def _named_once(values: list) -> bool:
    return len(values) >= 1 and len(set(values)) == len(values)


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
