"""What codes learned: known generators and readers by hand, planted codes, and a small training for real."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import truncnorm
from small_world import open_small_study

from solesearch.beyond import code_probe, latent_codes, latent_figures
from solesearch.beyond.sample_quality import COLUMNS, GENERATED, ImageSet, Nearest
from solesearch.core import files
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.core.settings import GanSettings
from solesearch.figures import registry
from solesearch.figures.registry import drawn
from solesearch.gan.training import load_gan
from solesearch.retrieval.uncertainty import load_resampling

SMALL = {
    "latent_codes.images": 12, "latent_codes.subset": 4, "latent_codes.neighbours": 2,
    "latent_codes.noises": 3, "latent_codes.draws": 2, "latent_codes.subsets": 3,
    "latent_codes.feature_network": "",
}  # fmt: skip


class KnownGan:
    """A generator whose image is code 1 times 1/2 everywhere and a class's own pixel; a Q that reads both."""

    seed = 7

    def __init__(self, settings: GanSettings):
        self.settings = settings

    def draw(self, count: int, place: list[int]) -> np.ndarray:
        random = np.random.default_rng(place)
        latents = random.uniform(-1, 1, (count, self.settings.noise + self.settings.code_size))
        classes = random.integers(0, self.settings.categorical_codes or 1, count)
        split = self.settings.noise + self.settings.continuous_codes
        latents[:, split:] = np.eye(self.settings.categorical_codes or 1)[classes][
            :, : latents.shape[1] - split
        ]
        return latents

    def generate(self, latents: np.ndarray) -> np.ndarray:
        split = self.settings.noise
        images = np.zeros((len(latents), 2, 4, 3))
        images += 0.5 * latents[:, split, None, None, None]
        for place in range(self.settings.categorical_codes):
            images[:, 1, place] = latents[:, split + self.settings.continuous_codes + place, None]
        return images

    def read(self, images: np.ndarray) -> np.ndarray:
        codes = np.zeros((len(images), self.settings.code_size))
        codes[:, 0] = 2 * images[:, 0, 0, 0]
        codes[:, self.settings.continuous_codes :] = 50 * images[:, 1, : self.settings.categorical_codes, 0]
        return codes


@pytest.fixture
def settings(workspace) -> latent_codes.LatentSettings:
    return latent_codes.load_latent_settings("smoke", {"latent_codes.images": 400, "latent_codes.subset": 16})


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


def test_traversal_rows_share_their_noise_and_mark_what_lies_beyond(gan: KnownGan, settings) -> None:
    rows = latent_codes.traversals(gan, settings)
    assert list(rows) == ["code 1", "code 2", "class code"]
    first = rows["code 1"]
    assert first.labels[:3] == ["-1.5", "-1", "-0.75"] and first.labels[5:7] == ["0", "+0.25"]
    assert first.beyond == [True] + [False] * 9 + [True]
    assert first.images[:, 0, 0, 0].tolist() == [round(127.5 * (1 + v / 2)) for v in settings.values]
    dead = rows["code 2"].images
    assert (dead == dead[0]).all() and (dead[0] == first.images[5]).all()
    assert rows["class code"].labels == ["class 1", "class 2", "class 3", "class 4"]
    assert not any(rows["class code"].beyond)


def test_effect_rows_have_intervals_and_say_their_unit(gan: KnownGan, settings) -> None:
    rows = latent_codes.effect_rows(gan, settings, load_resampling("smoke"))
    table = pd.DataFrame(rows)[COLUMNS].set_index("item")
    assert table.loc["code 2", ["value", "low", "high"]].tolist() == [0, 0, 0]
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
    assert set(table["unit"]) == {"grey levels of 255"} and set(table["n"]) == {settings.noises}


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


def test_likelihood_against_scipys_truncated_normal_one_by_one() -> None:
    draw = np.random.default_rng(2)
    code, prediction = draw.uniform(-1, 1, (2, 30))
    prediction[0] = 1.0  # where tanh saturates
    for spread in (0.01, 0.4, 30):
        plain = [
            truncnorm.logpdf(c, (-1 - p) / spread, (1 - p) / spread, loc=p, scale=spread)
            for c, p in zip(code, prediction, strict=True)
        ]
        found = latent_codes.log_likelihood(code, prediction, spread=spread)
        assert found == pytest.approx(np.mean(plain), rel=1e-9)


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


# --- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("values", [0, 1], "values: at least two"),
        ("values", [1, -1], "values: at least two"),
        ("draws", 1, "noises and draws: from 2"),
        ("subset", 25, "images: from 2 times the subset"),
        ("quantile", 1, "quantile: between"),
        ("shown", 0, "subsets, neighbours and shown: from 1"),
        ("feature_size", 10, "feature_size: from"),
    ],
)
def test_impossible_settings_are_refused(workspace, key: str, value: object, rule: str) -> None:
    with pytest.raises(InputError, match=rf"^params\.yaml, latent_codes\.{rule}"):
        latent_codes.load_latent_settings("smoke", {f"latent_codes.{key}": value})


# --- figures ---------------------------------------------------------------------------------------------


def code_table() -> pd.DataFrame:
    """Two seeds, two codes of which the second is dead, every measure that the charts draw."""
    lines = []
    for seed in (1, 2):
        for item, effect, bound in (("code 1", 20.0, 1.5), ("code 2", 0.0, 0.0)):
            lines.append(
                (seed, "effect", item, effect, effect * 0.9, effect * 1.1, 8, "grey levels of 255", "")
            )
            lines.append((seed, "information_bound", item, bound, bound - 0.1, bound + 0.1, 90, "nats", ""))
        lines.append((seed, "information_bound", "all codes", 1.5, 1.4, 1.6, 90, "nats", ""))
        for item in (latent_codes.NOISE_REDRAWN, latent_codes.CODES_REDRAWN):
            lines.append((seed, "effect", item, 40.0, 38.0, 42.0, 8, "grey levels of 255", ""))
        for part in ("validation", "test"):
            for item in latent_figures.PROBED:
                lines.append((seed, f"probe_{part}", item, 0.6, 0.5, 0.7, 50, "accuracy", ""))
        for item in (GENERATED, "untrained generator"):
            lines.append((seed, "kid_hog", item, 0.02, 0.01, 0.03, 40, "MMD^2", ""))
    for part in ("validation", "test"):
        for item in ("chance", "majority class"):
            lines.append((0, f"probe_{part}", item, 0.25, np.nan, np.nan, 50, "accuracy", ""))
    for item, value in (("noise", 3.0), ("training photos", 0.001), ("split halves of test photos", -1e-5)):
        lines.append((0, "kid_hog", item, value, value - 1e-3, value + 1e-3, 40, "MMD^2", ""))
    return pd.DataFrame(lines, columns=COLUMNS)


@pytest.mark.parametrize("name", ["code_effects", "code_probe", "kid_bars"])
def test_chart_gives_the_same_bytes_twice(workspace, name: str) -> None:
    paths = Paths.of("smoke")
    files.write_table(paths.result("latent_codes"), code_table())
    figure = latent_figures.draw_chart(name, profile="smoke")
    again = drawn(registry.CHARTS[name], paths)
    assert figure._repr_png_() == again._repr_png_() == (paths.figures / f"{name}.png").read_bytes()
    assert (paths.figures / f"{name}.pdf").stat().st_size > 1000


@pytest.mark.parametrize(
    ("chart", "measure"), [("code_effects", "effect"), ("code_probe", "probe_test"), ("kid_bars", "kid_hog")]
)
def test_chart_without_its_rows_says_so(chart: str, measure: str) -> None:
    table = code_table()
    draw = getattr(latent_figures, chart)
    with pytest.raises(InputError, match="table latent_codes: no"):
        draw(table[table["measure"] != measure], profile="smoke")


def row_of(count: int, *, beyond: list[bool]) -> latent_codes.Traversal:
    images = np.stack([np.full((6, 30, 3), 10 * n, np.uint8) for n in range(count)])
    return latent_codes.Traversal([f"{n}" for n in range(count)], beyond, images)


def test_strip_sets_images_beyond_apart() -> None:
    """Three images of 30 pixels: a gap of 10 where the range ends, of 1 within."""
    picture = latent_figures.strip(row_of(3, beyond=[True, False, False]))
    assert picture.shape == (6, 101, 3)
    assert [int(picture[0, x, 0]) for x in (0, 29, 35, 40, 69, 70, 71, 100)] == [
        0,
        0,
        255,
        10,
        10,
        255,
        20,
        20,
    ]
    with pytest.raises(InputError, match="2 values for 3 images"):
        latent_figures.strip(row_of(3, beyond=[True, False]))


def test_traversal_picture_names_every_code_with_its_numbers() -> None:
    rows = {seed: {f"code {n}": row_of(3, beyond=[True, False, False]) for n in (1, 2)} for seed in (1, 2)}
    figure = latent_figures.traversal_picture(rows, code_table(), profile="smoke")
    words = [text.get_text() for text in figure.texts]
    assert len(figure.axes) == 4 and words.count("20.0 · 1.50 nats") == words.count("0.0 · 0.00 nats") == 2
    rows[1]["code 9"] = rows[1]["code 1"]
    with pytest.raises(InputError, match="code 9"):
        latent_figures.traversal_picture(rows, code_table(), profile="smoke")


def test_nearest_picture_shows_the_nearest_and_the_first() -> None:
    images = ImageSet(GENERATED, 1, np.stack([np.full((4, 6, 3), n, np.uint8) for n in range(8)]))
    one = Nearest(images, np.arange(8)[::-1], np.array([5, 4, 3, 2, 1, 0.5, 9, 9]))
    assert latent_figures._chosen(one, 4).tolist() == [5, 4, 0, 1]
    training = np.stack([np.full((4, 6, 3), 100 + n, np.uint8) for n in range(8)])
    figure = latent_figures.nearest_picture(
        {"pixels": [one], "hog": [one]}, training, profile="smoke", shown=2
    )
    shown = [int(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes]
    assert shown == [5, 4, 0, 1] + [102, 103, 107, 106] * 2


# --- for real --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, repository):
    """A small study with the state that 8 steps would leave; its weights are drawn, not trained."""
    from solesearch.core.checkpoints import save_variables
    from solesearch.gan.infogan import InfoGan

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


def test_the_whole_stage_on_a_small_study(opened) -> None:
    settings = latent_codes.load_latent_settings("smoke", SMALL)
    resampling = load_resampling("smoke", {"uncertainty.resamples": 20})
    gans = latent_codes.open_gans(opened)
    lines = latent_codes.code_lines(gans, settings, resampling)
    lines += code_probe.probe_rows(opened, resampling, seed=0)
    sets = latent_codes.image_sets(opened, gans, settings)
    lines += latent_codes.distance_lines(opened, sets, settings, SMALL)
    copies, nearest = latent_codes.copy_lines(opened, sets, settings)
    table = latent_codes.write_lines(opened, [*lines, *copies])
    assert list(table.columns) == COLUMNS and np.isfinite(table["value"].astype(float)).all()
    found = table.set_index(["measure", "item"])["value"]
    assert found["probe_test", "chance"] == found["probe_test", "majority class"] == 0.5
    assert found["probe_test", "features"] == 1  # dark and light photos
    assert found["kid_hog", "noise"] > found["kid_hog", "training photos"]
    assert {one.name for one in sets} == {*latent_figures.COMPARED} - {"split halves of test photos"} | {
        "test photos"
    }
    assert [len(one.rows) for one in nearest["hog"]] == [12]
    for name in ("code_effects", "code_probe", "kid_bars"):
        latent_figures.draw_chart(name, profile="smoke")


def test_generator_and_q_are_those_of_the_state(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    from solesearch.gan.infogan import build_discriminator, build_generator

    monkeypatch.setattr(latent_codes, "BATCH", 2)
    gan = latent_codes.TrainedGan(opened, seed=1)
    latents = gan.draw(3, [5, 0])  # more than one batch
    assert latents.shape == (3, 108) and np.abs(latents).max() <= 1
    images = build_generator(opened.gan, seed=3)(latents, training=False).numpy()
    assert gan.generate(latents) == pytest.approx(images, abs=1e-5)
    codes = build_discriminator(opened.gan, seed=3)(images, training=False).code.numpy()
    assert gan.read(images) == pytest.approx(codes, abs=1e-5)
    # the state holds seed 3 as it was drawn
    assert latent_codes.untrained_images(opened.gan, latents, seed=3) == pytest.approx(images, abs=1e-5)


def test_a_class_code_is_held_against_the_classes(opened) -> None:
    names = {part: opened.split(part)[0]["label"].to_numpy() for part in code_probe.JUDGED}
    codes = {part: np.zeros((len(labels), 8 + 2)) for part, labels in names.items()}
    for part, labels in names.items():
        codes[part][np.arange(len(labels)), 8 + (labels == "light")] = 3
    codes["test"][:, 8:] = [1, 0]  # always the same class
    values = {row["measure"]: row["value"] for row in code_probe.class_code_rows(opened, codes, seed=1)}
    assert values["adjusted_mutual_information_validation"] == pytest.approx(1)
    assert values["adjusted_mutual_information_test"] == pytest.approx(0)


def test_missing_and_unfinished_training_and_too_few_photos_are_said(opened) -> None:
    settings = latent_codes.load_latent_settings("smoke", {**SMALL, "latent_codes.neighbours": 12})
    with pytest.raises(InputError, match=r"photos.csv: 12 test photos; lower .*13 photos are needed"):
        latent_codes.image_sets(opened, [], settings)
    state = opened.paths.gan_seed(1) / "state.npz"
    kept = state.with_name("kept.npz")
    state.rename(kept)
    with pytest.raises(InputError, match=r"state\.npz: not there yet; stage train"):
        latent_codes.open_gans(opened)
    files.write_arrays(state, {**files.read_arrays(kept), "0000": np.int32(0)})  # the steps done
    with pytest.raises(InputError, match="stands at step 0 of 8; run stage train to its end"):
        latent_codes.open_gans(opened)
    kept.replace(state)
