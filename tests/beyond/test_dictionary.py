"""The dictionary of gradient patches: its convolutions against plain loops, and what k-means gives it."""

import numpy as np
import pytest

from solesearch.beyond.dictionary import (
    FLAT,
    build_dictionary_trunk,
    draw_patches,
    learn_dictionary,
    train_dictionary,
)
from solesearch.beyond.gradient_trunk import oriented_gradients
from solesearch.beyond.variants import DictionarySettings
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.gan.trainer import TrainingFolder
from solesearch.photos.photo import to_signed

SETTINGS = DictionarySettings(
    photos=8, patch=3, patches=300, centres=5, shrinkage=0.1, epochs=5, batch_size=100
)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (10, 32, 48, 3), dtype=np.uint8)


def test_the_code_is_that_of_plain_loops(pixels: np.ndarray) -> None:
    """Patch by patch: whitened, its distance to each centre, and by how much it is nearer than the mean."""
    learned, _ = learn_dictionary(draw_patches(pixels, SETTINGS, seed=1), SETTINGS, seed=1)
    trunk = build_dictionary_trunk((32, 48), SETTINGS, seed=1).load(learned)
    output = trunk(to_signed(pixels[:1]))
    cells, code = oriented_gradients(to_signed(pixels[:1])).numpy()[0], output.activations[1].numpy()[0]
    assert code.shape == (6, 10, 5)
    for row, column in np.ndindex(code.shape[:2]):
        patch = cells[row : row + 3, column : column + 3].reshape(-1)
        whitened = (patch - learned.mean) @ learned.whitening
        distances = np.array([np.sqrt(((whitened - centre) ** 2).sum()) for centre in learned.centres])
        wanted = np.maximum(0, distances.mean() - distances)
        np.testing.assert_allclose(code[row, column], wanted, atol=2e-4)
    quarters = [code[:3, :5], code[:3, 5:], code[3:, :5], code[3:, 5:]]
    wanted = np.concatenate([quarter.mean(axis=(0, 1)) for quarter in quarters])
    np.testing.assert_allclose(output.features[0], wanted, rtol=1e-5)


def test_patches_are_whitened_and_centres_are_means_of_theirs() -> None:
    """Three clouds of patches: k-means finds their means, whatever the scale of a value was."""
    draw = np.random.default_rng(2)
    centres = draw.standard_normal((3, 81)) * 5
    patches = np.concatenate([centre + draw.standard_normal((200, 81)) * 0.1 for centre in centres])
    settings = SETTINGS.replaced(centres=3, shrinkage=1e-3)
    learned, loss = learn_dictionary(patches.astype(np.float32), settings, seed=1)
    whitened = (patches - learned.mean) @ learned.whitening
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-3)
    means = [whitened[200 * number : 200 * (number + 1)].mean(axis=0) for number in range(3)]
    gaps = np.linalg.norm(learned.centres[:, None] - np.array(means)[None], axis=2)
    assert sorted(gaps.argmin(axis=1)) == [0, 1, 2] and gaps.min(axis=1).max() < 0.5 * gaps.max()
    nearest = np.linalg.norm(whitened[:, None] - learned.centres[None], axis=2).min(axis=1)
    assert loss == pytest.approx((nearest**2).mean(), rel=0.01)


def test_flat_patches_teach_nothing_and_equal_seeds_draw_equal_ones(pixels: np.ndarray) -> None:
    first, again, other = (draw_patches(pixels, SETTINGS, seed=seed) for seed in (1, 1, 2))
    assert first.shape == (300, 81) and np.linalg.norm(first, axis=1).min() > FLAT
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    half = pixels.copy()
    half[:, :, :24] = 255  # half of every photo is white
    assert np.linalg.norm(draw_patches(half, SETTINGS, seed=1), axis=1).min() > FLAT
    with pytest.raises(InputError, match=r"ladder.dictionary.centres: 5 of 0 patches that show an edge"):
        draw_patches(np.full_like(pixels, 255), SETTINGS, seed=1)


def test_a_training_is_logged_and_gives_equal_bytes(workspace, pixels: np.ndarray) -> None:
    paths = Paths.of("smoke")
    folder = TrainingFolder(paths, paths.ladder_seed("dictionary", 1))
    trunks = [train_dictionary(pixels, SETTINGS, folder=folder, seed=1) for _ in range(2)]
    for first, again in zip(*(trunk.variables for trunk in trunks), strict=True):
        assert np.array_equal(first.numpy(), again.numpy())
    assert folder.log.read_text().startswith("step,squared_distance\n5,") and folder.seconds_file.is_file()
    drawn = build_dictionary_trunk((32, 48), SETTINGS, seed=1)
    assert not np.allclose(drawn.variables[2], trunks[0].variables[2])
