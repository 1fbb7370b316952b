"""What codes learned: known generators and readers by hand, planted codes, and a small training for real."""

import math

import numpy as np
import pandas as pd
import pytest
from small_world import open_small_study

from solesearch.beyond import code_probe, latent_codes
from solesearch.beyond.latent_codes import TrainedGan
from solesearch.beyond.latent_settings import LatentSettings
from solesearch.beyond.sample_quality import COLUMNS, TEST
from solesearch.core import files
from solesearch.core.checkpoints import save_variables
from solesearch.core.errors import InputError
from solesearch.core.settings import GanSettings
from solesearch.gan import embedder
from solesearch.gan.infogan import InfoGan, build_discriminator, build_generator
from solesearch.gan.training import load_gan
from solesearch.retrieval.uncertainty import Resampling

RESAMPLING = Resampling(resamples=100, permutations=9, confidence=0.95, significance=0.05, seed=1)
SMALL = {"images": 12, "subset": 4, "neighbours": 2, "noises": 3, "draws": 2, "feature_network": ""}


class KnownGan:
    """A generator whose image is code 1 times 1/2 everywhere and a class's own pixel; a Q that reads both."""

    seed = 7

    def __init__(self, settings: GanSettings):
        self.settings = settings

    def draw(self, count: int, place: list[int]) -> np.ndarray:
        random = np.random.default_rng(place)
        latents = random.uniform(-1, 1, (count, self.settings.noise + self.settings.code_size))
        classes = random.integers(0, self.settings.categorical_codes, count)
        latents[:, -self.settings.categorical_codes :] = np.eye(self.settings.categorical_codes)[classes]
        return latents

    def generate(self, latents: np.ndarray) -> np.ndarray:
        images = np.zeros((len(latents), 2, 4, 3))
        images += 0.5 * latents[:, self.settings.noise, None, None, None]
        images[:, 1] = latents[:, -4:, None]
        return images

    def read(self, images: np.ndarray) -> np.ndarray:
        codes = np.zeros((len(images), self.settings.code_size))
        codes[:, 0] = 2 * images[:, 0, 0, 0]
        codes[:, self.settings.continuous_codes :] = 50 * images[:, 1, :, 0]
        return codes


@pytest.fixture
def settings(workspace) -> LatentSettings:
    return LatentSettings.load("smoke", images=400)


@pytest.fixture
def gan(workspace) -> KnownGan:
    """Two continuous codes, of which the second is dead, and four classes."""
    found = load_gan("smoke", image_size=(32, 48))
    return KnownGan(found.replaced(noise=3, continuous_codes=2, categorical_codes=4))


# --- effects and traversals ------------------------------------------------------------------------------


def test_a_dead_code_changes_nothing_and_a_known_one_what_it_must(gan: KnownGan) -> None:
    found = latent_codes.effects(gan, gan.draw(9, [1]))
    assert list(found) == ["code 1", "code 2", "class code", "noise redrawn", "all codes redrawn"]
    assert found["code 2"].tolist() == found["noise redrawn"].tolist() == [0] * 9
    assert found["code 1"] == pytest.approx([127.5 / 2] * 9)  # four of eight pixels, those of no class, by 1
    assert found["class code"] == pytest.approx([127.5 * 2 / 8] * 9)  # two of eight pixels change by 1
    assert found["all codes redrawn"].max() > 0


def test_traversal_rows_share_their_noise(gan: KnownGan, settings) -> None:
    rows = latent_codes.traversals(gan, settings)
    assert {name: len(images) for name, images in rows.items()} == {
        "code 1": 11,
        "code 2": 11,
        "class code": 4,
    }
    first, dead = rows["code 1"], rows["code 2"]
    assert first[:, 0, 0, 0].tolist() == [round(127.5 * (1 + v / 2)) for v in settings.values]
    assert (dead == dead[0]).all() and (dead[0] == first[5]).all()


# --- bounds ----------------------------------------------------------------------------------------------


def test_bound_of_a_known_gaussian() -> None:
    """c = prediction + noise of .05: ln 2 - ln(sqrt(2 pi e) * .05) = 2.270 nats, but for the cut ends."""
    draw = np.random.default_rng(0)
    prediction = draw.uniform(-0.8, 0.8, 20_000)
    code = prediction + 0.05 * draw.standard_normal(20_000)
    spread = latent_codes.fitted_spread(code, prediction)
    assert spread == pytest.approx(0.05, rel=0.03)
    known = math.log(2) - math.log(math.sqrt(2 * math.pi * math.e) * 0.05)
    assert known == pytest.approx(2.270, abs=1e-3)
    assert latent_codes.continuous_bound(code, prediction, spread=spread) == pytest.approx(known, abs=0.02)


@pytest.mark.parametrize("guess", ["nothing", "noise", "opposite"])
def test_bound_of_a_code_that_is_not_known_is_zero(guess: str) -> None:
    draw = np.random.default_rng(1)
    code = draw.uniform(-1, 1, 5000)
    prediction = {"nothing": 0 * code, "noise": draw.uniform(-1, 1, 5000), "opposite": -code}[guess]
    spread = latent_codes.fitted_spread(code, prediction)
    assert spread > 2  # flat over the whole range
    assert latent_codes.continuous_bound(code, prediction, spread=spread) == pytest.approx(0, abs=1e-3)


def test_categorical_bound_on_worked_numbers() -> None:
    truth = np.eye(4)[[0, 2, 3]]
    assert latent_codes.categorical_bound(truth, np.zeros((3, 4))) == pytest.approx(0)
    assert latent_codes.categorical_bound(truth, 100 * truth) == pytest.approx(math.log(4))
    half = np.log(np.where(truth == 1, 0.5, 1 / 6))
    assert latent_codes.categorical_bound(truth, half) == pytest.approx(math.log(4) + math.log(0.5))
    assert latent_codes.categorical_bound(truth, -10 * truth) < 0  # confident and wrong


def test_bounds_tell_read_codes_from_dead_ones_and_add_up(gan: KnownGan, settings) -> None:
    table = pd.DataFrame(latent_codes.bound_rows(gan, settings)).set_index("item")
    assert table.loc["code 1", "value"] > 5  # read exactly
    assert table.loc["code 2", "value"] == pytest.approx(0, abs=0.01)
    assert table.loc["class code", "value"] == pytest.approx(math.log(4), abs=1e-6)
    assert table.loc["all codes", "value"] == pytest.approx(table["value"].iloc[:3].sum())
    assert set(table["n"]) == {settings.draws * 400} and set(table["unit"]) == {"nats"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"values": [0, 1]}, "values: ascending"),
        ({"subset": 25}, "subset: at most half of 48 images; got 25"),
    ],
)
def test_impossible_settings_are_refused(workspace, changed: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=rf"^params\.yaml, smoke\.latent_codes.*{message}"):
        LatentSettings.load("smoke", **changed)


# --- for real --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, repository):
    """A small study with the state that 8 steps would leave; its weights are drawn, not trained."""
    root = tmp_path_factory.mktemp("project")
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).write_bytes((repository / name).read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOLESEARCH_ROOT", str(root))
        study = open_small_study()
        gan = InfoGan(study.gan, seed=3)
        gan.steps_done.assign(study.gan.steps)
        save_variables(study.paths.gan_seed(1) / "state.npz", gan.state_variables())
        yield study


def test_generator_and_q_are_those_of_the_state(study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "BATCH", 2)
    gan = TrainedGan(study, seed=1)
    latents = gan.draw(3, [5, 0])  # more than one batch
    assert latents.shape == (3, 108) and np.abs(latents).max() <= 1
    images = build_generator(study.gan, seed=3)(latents, training=False).numpy()
    assert gan.generate(latents) == pytest.approx(images, abs=1e-5)
    codes = build_discriminator(study.gan, seed=3)(images, training=False).code.numpy()
    assert gan.read(images) == pytest.approx(codes, abs=1e-5)
    # the state holds seed 3 as it was drawn
    assert latent_codes.untrained_images(study.gan, latents, seed=3) == pytest.approx(images, abs=1e-5)


def test_sets_are_equally_large_and_too_few_photos_are_said(study) -> None:
    sets = latent_codes.image_sets(study, [TrainedGan(study, seed=1)], LatentSettings.load("smoke", **SMALL))
    names = ["generated", "untrained generator", "test photos", "training photos", "noise"]
    assert [images.name for images in sets] == names
    assert [len(images.pixels) for images in sets] == [12, 12, 12, 4, 12]  # there are four training photos
    spaces = latent_codes.feature_spaces(study, LatentSettings.load("smoke", **SMALL))
    assert [space.name for space in spaces] == ["hog"] and sets[2].name == TEST
    with pytest.raises(InputError, match=r"photos.csv: 12 test photos; lower .*13 photos are needed"):
        latent_codes.image_sets(study, [], LatentSettings.load("smoke", **{**SMALL, "neighbours": 12}))


def test_missing_and_unfinished_training_are_said(study) -> None:
    state = study.paths.gan_seed(1) / "state.npz"
    kept = state.with_name("kept.npz")
    state.rename(kept)
    with pytest.raises(InputError, match=r"state\.npz: not there yet; stage train"):
        TrainedGan(study, seed=1)
    files.write_arrays(state, {**files.read_arrays(kept), "0000": np.int32(0)})  # the steps done
    with pytest.raises(InputError, match="stands at step 0 of 8; run stage train to its end"):
        TrainedGan(study, seed=1)
    kept.replace(state)


# --- the probe -------------------------------------------------------------------------------------------


def test_probe_finds_planted_classes_and_nothing_in_noise() -> None:
    draw = np.random.default_rng(3)
    labels = draw.choice(["boot", "heel", "flat"], 300)
    centre = {"boot": -1.0, "heel": 0.0, "flat": 1.0}
    codes = 0.05 * draw.standard_normal((300, 4))
    codes[:, 2] += [centre[label] for label in labels]
    [answers] = code_probe.probe(codes[:200], labels[:200], [codes[200:]])
    assert (answers == labels[200:]).mean() > 0.97
    [lost] = code_probe.probe(codes[:200], draw.permutation(labels[:200]), [codes[200:]])
    assert (lost == labels[200:]).mean() < 0.6


def test_codes_of_real_photos_are_probed_beside_their_features(study) -> None:
    codes, features = code_probe.read_codes(study, seed=1, step=4)
    compared = code_probe.compared(codes, codes, features, step=4, seed=0)
    rows = code_probe.reference_rows(study)
    for item, (vectors, note) in compared.items():
        rows += code_probe.probe_rows(study, vectors, RESAMPLING, seed=1, item=item, note=note)
    found = pd.DataFrame(rows)[COLUMNS].set_index(["measure", "item"])["value"]
    assert found["probe_test", "chance"] == found["probe_test", "majority class"] == 0.5
    assert found["probe_test", "features"] == 1  # dark and light photos
    assert len(found) == 2 * (2 + 4)


def test_a_class_code_is_held_against_the_classes(study) -> None:
    names = {part: study.split(part)[0]["label"].to_numpy() for part in code_probe.JUDGED}
    codes = {part: np.zeros((len(labels), 8 + 2)) for part, labels in names.items()}
    for part, labels in names.items():
        codes[part][np.arange(len(labels)), 8 + (labels == "light")] = 3
    codes["test"][:, 8:] = [1, 0]  # always the same class
    values = {row["measure"]: row["value"] for row in code_probe.class_code_rows(study, codes, seed=1)}
    assert values["adjusted_mutual_information_validation"] == pytest.approx(1)
    assert values["adjusted_mutual_information_test"] == pytest.approx(0)
