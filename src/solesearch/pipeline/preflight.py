"""Before anything is computed: are the active profiles' values possible, and are their photographs there?

A wrong learning rate in the last stage's section should not be found out after an hour of training.
`make repro` does this first, in about two seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from solesearch.beyond.growth import GrowthSettings
from solesearch.beyond.latent_settings import LatentSettings
from solesearch.beyond.likeness import LikenessSettings
from solesearch.beyond.methods import JudgingSettings
from solesearch.beyond.variants import VariantSettings
from solesearch.claims.ledger import read_ledger
from solesearch.claims.readings import ClaimSettings
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.repeatable import has_gpu
from solesearch.core.settings import GallerySettings, check_known
from solesearch.cost.latency import LatencySettings
from solesearch.evaluation.study import EvaluationSettings
from solesearch.gan.trainer import check_devices
from solesearch.gan.training import load_gan
from solesearch.index.benchmark import IndexSettings
from solesearch.networks.networks import NetworkSettings
from solesearch.networks.retraining import RetrainingSettings
from solesearch.networks.weights import check_placed
from solesearch.page.showcase import ShowcaseSettings
from solesearch.page.uploads import PageSettings
from solesearch.people.human_study import HumanStudySettings
from solesearch.photos.catalog import CatalogSettings
from solesearch.photos.sources import no_photographs
from solesearch.retrieval.uncertainty import Resampling

SECTIONS = (
    *(EvaluationSettings, LatencySettings, GallerySettings, LikenessSettings, HumanStudySettings),
    *(IndexSettings, GrowthSettings, LatentSettings, VariantSettings, ShowcaseSettings, PageSettings),
    *(ClaimSettings, JudgingSettings, Resampling),
)


def check_values(profile: str) -> None:
    """Build every settings object of a profile; raises InputError for the first impossible value.

    So it does for a bad entry of the claims' ledger, a weight file that cannot be what it is named, and a
    retrained network that takes no part as it is, since it is compared with itself.
    """
    gan = load_gan(profile, image_size=CatalogSettings.load(profile).image_size)
    check_devices(gan, ["one"] if has_gpu() else [])  # more are counted where TensorFlow is asked
    for section in SECTIONS:
        section.load(profile)
    networks, retraining = NetworkSettings.load(profile), RetrainingSettings.load(profile)
    if foreign := sorted(set(retraining.networks) - set(networks.names)):
        raise InputError(
            f"params.yaml, {profile}.retraining.networks: {', '.join(foreign)} is not among networks.names"
        )
    check_placed(networks)
    read_ledger()


def check_all(profiles: Sequence[str]) -> None:
    """Check that the profiles exist, then the values and photographs of each.

    DVC would stop without data/<profile>, too, but in its own words and not before other profiles have run.
    """
    check_known(profiles)
    for profile in profiles:
        check_values(profile)
        slot = Paths.of(profile).data
        if not slot.exists():
            raise no_photographs(slot, profile=profile)
