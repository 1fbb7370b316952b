"""params.yaml: one home for every value; a notebook reads the sections of its own stage and no other.

Nothing here imports TensorFlow, so that every value can be checked before anything is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from solesearch.core.errors import InputError
from solesearch.core.paths import repository_root


def load_parameters() -> dict[str, Any]:
    """Return params.yaml as a dictionary; raises InputError when it is not valid YAML."""
    path = repository_root() / "params.yaml"
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise InputError(f"params.yaml{line}: not valid YAML; {getattr(error, 'problem', error)}") from error


def active_profiles() -> list[str]:
    """Return the list `profiles` of params.yaml; raises InputError when it lists none."""
    profiles = load_parameters().get("profiles")
    if not isinstance(profiles, list) or not profiles:
        raise InputError("params.yaml: `profiles` must list at least one profile, one name a line")
    return profiles


def check_known(profiles: Sequence[str]) -> dict[str, Any]:
    """Return params.yaml's profiles; raises InputError for the first name that is none of them."""
    sections = {name: value for name, value in load_parameters().items() if isinstance(value, dict)}
    sections.pop("defaults", None)
    for profile in profiles:
        if profile not in sections:
            known = ", ".join(sections)
            raise InputError(f"params.yaml has no section for profile {profile!r}; there are {known}")
    return sections


def load_section(profile: str, section: str) -> dict[str, Any]:
    """Return one section of a profile, "ladder" or "ladder.judging"; InputError for an unknown one."""
    values: Any = check_known([profile])[profile]
    for part in section.split("."):
        known, values = values, values.get(part)
        if not isinstance(values, dict):
            raise InputError(
                f"params.yaml: profile {profile} has no section {section!r}; it has {', '.join(known)}"
            )
    return dict(values)


class Problem(NamedTuple):
    """The first thing that pydantic refused: where it stands, what is wrong with it, and what was given."""

    place: tuple[int | str, ...]
    words: str
    given: str  # ", got 7"; "" where nothing was, or the words tell it


def first_problem(error: ValidationError) -> Problem:
    """Return the first problem of an error of pydantic's, or of FastAPI's, worded for its reader."""
    first = error.errors()[0]
    own = {"missing": "is missing", "extra_forbidden": "is no key here"}
    words = own.get(first["type"], first["msg"].removeprefix("Value error, "))
    # a rule over several keys tells their values itself
    told = first["type"] == "missing" or not first["loc"]
    return Problem(tuple(first["loc"]), words, "" if told else f", got {first['input']!r}")


class Section(BaseModel):
    """One section of a profile; a subclass names its fields, their types and bounds (pydantic), once.

    `class IndexSettings(Section, section="index")`; types are strict, so that "3" or yes is no number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    section: ClassVar[str]

    def __init_subclass__(cls, *, section: str | None = None, **options: Any) -> None:
        """Keep the name of the section that the subclass reads."""
        super().__init_subclass__(**options)
        if section is not None:
            cls.section = section

    @classmethod
    def load(cls, profile: str, **changed: Any) -> Self:
        """Return the section of `profile`, the values in `changed` that are not None laid over it.

        Raises InputError in one line that names profile, section and key, and what was wrong with it.
        """
        values = load_section(profile, cls.section)
        for key, value in changed.items():
            if key not in values:
                raise InputError(f"{key}: params.yaml has no such key below {profile}.{cls.section}")
            if value is not None:
                values[key] = value
        return cls.checked(values, where=f"{profile}.{cls.section}")

    @classmethod
    def checked(cls, values: dict[str, Any], *, where: str) -> Self:
        """Return the section built from `values`; raises InputError in one line that names key and value."""
        try:
            return cls(**values)
        except ValidationError as error:
            place, words, given = first_problem(error)
            key = ".".join(map(str, (where, *place)))
            raise InputError(f"params.yaml, {key}: {words}{given}") from error

    def replaced(self, **values: Any) -> Self:
        """Return a copy with other values, checked as those of params.yaml are."""
        return self.checked({**dict(self), **values}, where=self.section)


class GanSettings(Section, section="gan"):
    """What decides the networks and the training; `params.yaml` holds the values and their sources."""

    image_size: tuple[int, int] = (64, 96)  # height, width of the decoded photos; not in params.yaml
    seeds: list[NonNegativeInt] = Field(min_length=1)  # of the trainings, one each
    threads: PositiveInt
    noise: PositiveInt
    continuous_codes: NonNegativeInt
    categorical_codes: NonNegativeInt
    upsampling: Literal["resize", "stride"]
    generator_keep_probability: float = Field(gt=0, le=1)
    discriminator_dropout: float = Field(ge=0, lt=1)
    leak: float
    information_weight: float
    discriminator_learning_rate: float
    generator_learning_rate: float
    beta_1: float
    batch_size: int = Field(ge=2)  # batch normalisation
    mixed_precision: bool  # float16 in the networks; weights, heads, images and losses stay float32
    steps: PositiveInt
    checkpoint_every: PositiveInt
    resume_every: PositiveInt

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        """Refuse what no network can be built from, or no training can follow."""
        rules = {
            "images must be at least 16 pixels high and wide": min(self.image_size) >= 16,
            "at least one code is needed (continuous_codes or categorical_codes)": self.code_size >= 1,
            f"checkpoint_every must divide steps; got {self.checkpoint_every} and {self.steps}": (
                self.steps % self.checkpoint_every == 0
            ),
            f"name each seed once; got {self.seeds}": len(set(self.seeds)) == len(self.seeds),
        }
        for rule, holds in rules.items():
            if not holds:
                raise ValueError(rule)
        return self

    @property
    def code_size(self) -> int:
        """Length of the latent code; a categorical code counts its classes."""
        return self.continuous_codes + self.categorical_codes


class GallerySettings(Section, section="gallery"):
    """Which queries are shown, and how many answers; `params.yaml` holds the values and their sources."""

    queries: int = Field(ge=1)
    k: int = Field(ge=1)
    seed: int = Field(ge=0)
    query_ids: list[str]
    page_queries: int = Field(ge=1)
    bag_labels: list[str]
