"""How large the models are, counted three ways, so that P Table II's column "size" is explained.

P prints Keras's published sizes *with* the classifier that its text removes, and 23.7 MB for a network whose
embedding part takes less than 2 MB: that is about what its training checkpoint takes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from solesearch.core.model_names import published_networks
from solesearch.cost.cost_figures import CHECKPOINT, CLASSIFIER, EMBEDDING
from solesearch.cost.latency import BYTES, embedding_parameters
from solesearch.gan.infogan import InfoGan
from solesearch.gan.training import load_gan
from solesearch.networks.networks import NetworkSettings, find_network
from solesearch.photos.catalog import CatalogSettings

COLUMNS = ["model", "what", "parameters", "megabytes"]


def model_sizes(profile: str) -> pd.DataFrame:
    """Return the sizes of a profile's models: model, what, parameters, megabytes (float32, MB of 1e6 bytes).

    what: `embedding`, the network that embeds a photo; `with classifier`, as Keras publishes it (its own
    figure for the megabytes); `training checkpoint`, all that a resumed training of the InfoGAN needs:
    generator, discriminator, code head and Adam's two moments of each.
    """
    rows = gan_sizes(profile)
    published = published_networks()
    for name in NetworkSettings.load(profile).names:
        network = find_network(name)
        rows.append((name, EMBEDDING, network.values, network.values * BYTES / 1e6))
        if network.width == 1:  # Keras publishes no figures for the narrower ones
            row = published.loc[network.builder]
            rows.append((name, CLASSIFIER, int(row["parameters"]), float(row["size_mb"])))
    return pd.DataFrame(rows, columns=COLUMNS)


def gan_sizes(profile: str) -> list[tuple[str, str, int, float]]:
    """Return the rows of the proposed model."""
    settings = load_gan(profile, image_size=CatalogSettings.load(profile).image_size)
    gan = InfoGan(settings, seed=settings.seeds[0])
    embedding = embedding_parameters(gan.discriminator)
    checkpoint = sum(int(np.prod(variable.shape)) for variable in gan.state_variables())
    return [
        ("infogan", EMBEDDING, embedding, embedding * BYTES / 1e6),
        ("infogan", CHECKPOINT, checkpoint, checkpoint * BYTES / 1e6),
    ]
