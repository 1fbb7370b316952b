"""The ablation's variants, the papers' recipe with one idea changed at a time, and their settings.

Needs no TensorFlow. Section `ladder` of params.yaml holds the values and their sources.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from solesearch.core.settings import Section


@dataclass(frozen=True)
class Variant:
    """A name for charts, the idea with its source, and what it changes in the papers' recipe."""

    title: str
    idea: str
    training: str = "Recipe"  # class in adversarial_variants; "" where there is no adversary
    gan: dict[str, Any] = field(default_factory=dict)  # changed GAN settings
    reads: tuple[str, ...] = ()  # keys of ladder.ideas that decide its numbers
    contrastive: bool = False  # reads ladder.contrastive
    trunk: str = "discriminator"  # what learns: P Table I's, gradient_trunk's "edges", a "dictionary", or a
    # network "on_dictionary"
    loss: str = "nt_xent"  # of a contrastive training without adversary; or vicreg
    continued: bool = False  # from the last state of stage train, to ladder.longer_steps

    @property
    def needs_labels(self) -> bool:
        """Tell whether it sees labels."""
        return "labelled_share" in self.reads


VARIANTS: dict[str, Variant] = {
    "infogan": Variant(
        "InfoGAN (the papers' recipe)",
        "Networks and losses of P Table I, non-saturating, eight continuous codes (Ay et al. 2019).",
    ),
    "infogan_longer": Variant(
        "InfoGAN, trained on",
        "The papers' training goes on beyond the 2,500 iterations that end their schedule (Ay et al. 2019).",
        continued=True,
    ),
    "vanilla": Variant(
        "vanilla GAN",
        "No codes; the generator minimises log(1 - D), the minimax game as written (Goodfellow et al. 2014).",
        training="Minimax",
    ),
    "dcgan": Variant(
        "DCGAN",
        "No codes, no dropout in D, strided transposed convolutions, both rates 2e-4 (Radford et al. 2016).",
        training="WithoutCodes",
        gan={"discriminator_dropout": 0.0, "upsampling": "stride", "generator_learning_rate": 0.0002},
    ),
    "categorical_code": Variant(
        "one 8-way code",
        "One categorical code of eight values, no continuous ones (InfoGAN, Chen et al. 2016; P: 8 classes).",
        gan={"continuous_codes": 0, "categorical_codes": 8},
    ),
    "lambda_0": Variant(
        "lambda 0",
        "The information term weighs nothing, so the codes are noise (P eq. 3 without its last term).",
        gan={"information_weight": 0.0},
    ),
    "lambda_10": Variant(
        "lambda 10",
        "The information term weighs ten times as much (P eq. 3).",
        gan={"information_weight": 10.0},
    ),
    "ema": Variant(
        "EMA of D",
        "The trunk is an exponential moving average of D's weights (Yazici et al. 2019, there for G).",
        training="Averaged",
        reads=("ema_decay",),
    ),
    "spectral_hinge": Variant(
        "spectral norm + hinge",
        "D's kernels over their largest singular value, and the hinge loss (Miyato et al. 2018).",
        training="SpectralHinge",
    ),
    "diff_augment": Variant(
        "DiffAugment",
        "D sees real and generated photos shifted, recoloured, with a box cut out (Zhao et al. 2020).",
        training="DiffAugmented",
    ),
    "rotation": Variant(
        "turned photos",
        "D also tells how a real photo was turned or mirrored (SSGAN; Chen et al. 2019).",
        training="Rotation",
        reads=("rotation_weight",),
    ),
    "contrastive_head": Variant(
        "contrastive head",
        "D also brings two augmented views of a real photo together (ContraD; Jeong and Shin 2021).",
        training="ContrastiveHead",
        reads=("contrastive_weight",),
        contrastive=True,
    ),
    "code_supervision": Variant(
        "labels for the code",
        "A small share of labels teaches a categorical code on real photos (ss-InfoGAN; Spurr et al. 2017).",
        training="CodeSupervision",
        reads=("supervision_weight", "labelled_share"),
    ),
    "contrastive_only": Variant(
        "contrastive, no GAN",
        "The same trunk learns from two augmented views alone, no generator (SimCLR; Chen et al. 2020).",
        training="",
        contrastive=True,
    ),
    "contrastive_gradients": Variant(
        "contrastive on edges, no GAN",
        "As before, on a trunk whose first layer is HOG's oriented gradients (Dalal and Triggs 2005).",
        training="",
        contrastive=True,
        trunk="edges",
    ),
    "dictionary": Variant(
        "dictionary of gradient patches",
        "K-means centres of patches of oriented gradients, no network at all (Coates, Lee and Ng 2011).",
        training="",
        trunk="dictionary",
    ),
    "dictionary_network": Variant(
        "network on a dictionary, VICReg",
        "Two convolutions on the dictionary's code learn from two views (VICReg; Bardes et al. 2022).",
        training="",
        contrastive=True,
        trunk="on_dictionary",
        loss="vicreg",
    ),
}


# --- settings --------------------------------------------------------------------------------------------

BelowOne = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
BatchSize = Annotated[int, Field(ge=2)]  # batch normalisation


class IdeaSettings(Section, section="ladder.ideas"):
    """One value for each idea that needs one."""

    ema_decay: BelowOne
    rotation_weight: PositiveFloat
    contrastive_weight: PositiveFloat
    supervision_weight: PositiveFloat
    labelled_share: float = Field(gt=0, le=1)


class ContrastiveSettings(Section, section="ladder.contrastive"):
    """Contrastive training: loss and optimiser, and how a view of a photo is drawn."""

    steps: PositiveInt
    batch_size: BatchSize
    learning_rate: PositiveFloat
    temperature: PositiveFloat
    hidden: PositiveInt
    projection: PositiveInt
    dropout: BelowOne
    norm_momentum: BelowOne
    crop_area: Annotated[list[Annotated[float, Field(gt=0, le=4)]], Field(min_length=2, max_length=2)]
    crop_aspect: float = Field(ge=1, le=4)
    brightness: BelowOne
    contrast: BelowOne
    saturation: BelowOne
    channel_gain: BelowOne
    grey: Share
    flip: Share

    @model_validator(mode="after")
    def _crop_areas_ascend(self) -> Self:
        if self.crop_area[0] > self.crop_area[1]:
            raise ValueError(f"crop_area: two ascending shares of the photo; got {self.crop_area}")
        return self


class DictionarySettings(Section, section="ladder.dictionary"):
    """Patches and centres of `dictionary`."""

    photos: NonNegativeInt
    patch: PositiveInt
    patches: PositiveInt
    centres: Annotated[int, Field(ge=2)]
    shrinkage: PositiveFloat
    epochs: PositiveInt
    batch_size: BatchSize


class VariantSettings(Section, section="ladder"):
    """Which variants are trained, and how long."""

    variants: list[str] = Field(min_length=1)
    steps: PositiveInt
    batch_size: BatchSize
    seeds: list[NonNegativeInt] = Field(min_length=1)
    finalist_seeds: list[NonNegativeInt] = Field(min_length=1)
    resume_every: PositiveInt
    longer_steps: PositiveInt
    longer_every: PositiveInt
    threads: PositiveInt
    ideas: IdeaSettings
    contrastive: ContrastiveSettings
    dictionary: DictionarySettings
    judging: dict[str, Any] = Field(repr=False)  # methods.JudgingSettings: an edit there must not train anew

    @model_validator(mode="after")
    def _known_and_named_once(self) -> Self:
        if unknown := [name for name in self.variants if name not in VARIANTS]:
            raise ValueError(f"variants: {unknown[0]!r} is none of {', '.join(VARIANTS)}")
        for key in ("variants", "seeds", "finalist_seeds"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"{key}: name each one once; got {values}")
        return self
