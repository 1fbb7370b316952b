"""The network on a dictionary: its code stays as it was learned, the convolutions on it learn by VICReg."""

import numpy as np
import tensorflow as tf

from solesearch.beyond.contrastive import ContrastiveTrunk
from solesearch.beyond.dictionary import learned_trunk
from solesearch.beyond.dictionary_network import build_dictionary_network
from solesearch.beyond.variants import VariantSettings
from solesearch.gan.training import load_gan
from solesearch.photos.photo import to_signed


def test_two_convolutions_learn_and_the_dictionary_below_stays(workspace) -> None:
    gan, settings = load_gan("smoke", image_size=(32, 48)), VariantSettings.load("smoke")
    pixels = np.random.default_rng(1).integers(0, 256, (12, 32, 48, 3), dtype=np.uint8)
    dictionary, _ = learned_trunk(pixels, settings.dictionary.replaced(patches=300, centres=6), seed=1)
    network = build_dictionary_network(dictionary, (32, 48), leak=gan.leak, norm_momentum=0.9, seed=1)
    images = tf.constant(to_signed(pixels))
    output = network(images)
    assert [one.shape[1:] for one in output.activations] == [(8, 12, 9), (6, 10, 6), (6, 10, 64), (3, 5, 128)]
    np.testing.assert_allclose(output.activations[1], dictionary(images).activations[1], atol=1e-6)
    assert output.features.shape == (12, 3 * 5 * 128)

    values = settings.contrastive.replaced(steps=8, learning_rate=0.003)
    model = ContrastiveTrunk(gan, values, trunk=network, seed=1, loss="vicreg")
    before = [variable.numpy().copy() for variable in network.variables]
    losses = [float(model.train_step(images)["contrastive"]) for _ in range(8)]
    assert np.isfinite(losses).all() and np.mean(losses[-2:]) < 0.9 * losses[0]
    fixed = {id(variable) for variable in dictionary.variables}
    for variable, old in zip(network.variables, before, strict=True):
        assert (np.abs(variable.numpy() - old).max() == 0) == (id(variable) in fixed), variable.path
