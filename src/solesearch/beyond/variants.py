"""The ablation ladder's variants: the papers' recipe, and one idea changed at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from solesearch.core.errors import InputError

DISCRIMINATOR, GRADIENTS = "discriminator", "gradients"


@dataclass(frozen=True)
class Variant:
    """One rung: a name for charts, the idea with its source, and what it changes in the papers' recipe."""

    title: str
    idea: str
    training: str = "recipe"  # key of adversarial_variants.TRAININGS; "" where there is no adversary
    gan: dict[str, Any] = field(default_factory=dict)  # changed GAN settings
    reads: tuple[str, ...] = ()  # keys of ladder.ideas that decide its numbers
    contrastive: bool = False  # reads ladder.contrastive
    trunk: str = DISCRIMINATOR  # what learns: P Table I's discriminator, or gradient_trunk.py's
    needs_labels: bool = False


VARIANTS: dict[str, Variant] = {
    "infogan": Variant(
        "InfoGAN (the papers' recipe)",
        "Networks and losses of P Table I, non-saturating, eight continuous codes (Ay et al. 2019).",
    ),
    "vanilla": Variant(
        "vanilla GAN",
        "No codes; the generator minimises log(1 - D), the minimax game as written (Goodfellow et al. 2014).",
        training="minimax",
    ),
    "dcgan": Variant(
        "DCGAN",
        "No codes, no dropout in D, strided transposed convolutions, both rates 2e-4 (Radford et al. 2016).",
        training="without_codes",
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
        training="averaged",
        reads=("ema_decay",),
    ),
    "spectral_hinge": Variant(
        "spectral norm + hinge",
        "D's kernels over their largest singular value, and the hinge loss (Miyato et al. 2018).",
        training="spectral_hinge",
    ),
    "diff_augment": Variant(
        "DiffAugment",
        "D sees real and generated photos shifted, recoloured, with a box cut out (Zhao et al. 2020).",
        training="diff_augmented",
    ),
    "rotation": Variant(
        "turned photos",
        "D also tells how a real photo was turned or mirrored (SSGAN; Chen et al. 2019).",
        training="rotation",
        reads=("rotation_weight",),
    ),
    "contrastive_head": Variant(
        "contrastive head",
        "D also brings two augmented views of a real photo together (ContraD; Jeong and Shin 2021).",
        training="contrastive_head",
        reads=("contrastive_weight",),
        contrastive=True,
    ),
    "code_supervision": Variant(
        "labels for the code",
        "A small share of labels teaches a categorical code on real photos (ss-InfoGAN; Spurr et al. 2017).",
        training="code_supervision",
        reads=("supervision_weight", "labelled_share"),
        needs_labels=True,
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
        trunk=GRADIENTS,
    ),
}


def check_variant(name: str, *, where: str) -> None:
    """Raise InputError for a name that is no variant's."""
    if name not in VARIANTS:
        raise InputError(f"{where}: {name!r} is none of {', '.join(VARIANTS)}")
