"""What stage claims pictures and trains; `params.yaml`, section `claims`, holds the values."""

from pydantic import Field

from solesearch.core.settings import Section


class ClaimSettings(Section, section="claims"):
    """How many pairs are pictured and which readings of the papers are trained."""

    worst_pairs: int = Field(ge=2)
    reading_steps: int = Field(ge=0)
    costly_readings: list[str]
