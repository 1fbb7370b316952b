"""The ablation: choice on validation photos alone, tables and chart of a small run."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from legible import words
from small_world import TENSORFLOW, open_small_study
from test_effects import answers

from solesearch.beyond import ablation, ablation_figures, ablation_tables, export, gradient_trunk
from solesearch.beyond.ablation import choose_finalists
from solesearch.beyond.effects import Model, mean_values
from solesearch.beyond.methods import JudgingSettings
from solesearch.beyond.post_processing import photo_vectors
from solesearch.beyond.variant_training import VariantTrainings
from solesearch.beyond.variants import VariantSettings
from solesearch.core import files
from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.cost.embedder_file import EmbedderFile
from solesearch.cost.latency import LatencySettings
from solesearch.gan.infogan import build_discriminator
from solesearch.networks.comparison import OVERVIEW, NetworkFolder
from solesearch.retrieval.controls import control_features
from solesearch.retrieval.uncertainty import Resampling, resampling_units

SETTINGS = Resampling(resamples=100, permutations=99, confidence=0.95, significance=0.05, seed=1)
METHODS = ["plain", "whitened", "layers_max"]
JUDGING = {
    "recipes": METHODS, "layers": [1, 2], "lower_layers": [1, 2], "first_layers": [1], "first_grid": 3,
    "whitened_dimensions": 2, "shrinkage": 0.0, "finalists": 2,
    "control_recipes": ["normalised", "whitened", "normalised_whitened"],
}  # fmt: skip


# --- choice ----------------------------------------------------------------------------------------------


def test_finalists_are_the_best_method_of_each_label_free_trunk() -> None:
    queries = answers({
        ("infogan", "plain", 1): [0.5, 0.5], ("infogan", "whitened", 1): [0.9, 0.7],
        ("infogan", "whitened", 2): [0.7, 0.7], ("ema", "plain", 1): [0.6, 0.7],
        ("paper", "plain", 1): [0.1, 0.1], ("code_supervision", "plain", 1): [1, 1], ("hog", "", 0): [1, 1],
    })  # fmt: skip
    rule = {"count": 2, "most_megabytes": 5}
    assert choose_finalists(queries, **rule) == [("infogan", "whitened"), ("ema", "plain")]  # .75, .65
    assert choose_finalists(queries, count=9, most_megabytes=5)[-1] == ("paper", "plain")
    large = queries.assign(megabytes=queries["recipe"].eq("whitened") * 6.0)
    assert choose_finalists(large, **rule) == [("ema", "plain"), ("infogan", "plain")]
    with pytest.raises(InputError, match="most_megabytes 5: no model is so small"):
        choose_finalists(queries.assign(megabytes=6.0), **rule)
    test = answers({("paper", "plain", 1): [1, 1]}, split="test")  # excellent on test photos: not looked at
    assert choose_finalists(pd.concat([queries, test]), **rule) == choose_finalists(queries, **rule)


# --- a small run -----------------------------------------------------------------------------------------


def add_networks(paths: Paths) -> None:
    """MobileNetV2 with real weights saw every photo, MobileNet some, VGG16 has none; latency of the first."""
    photos = files.read_table(paths.photos, made_by="stage prepare")
    folder, rows = NetworkFolder(paths.networks), []
    for name, source, count in (
        ("MobileNetV2", "placed", 24),
        ("MobileNet", "placed", 3),
        ("VGG16", "untrained", 24),
    ):
        vectors = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
        overview = {**dict.fromkeys(OVERVIEW, ""), "model": name, "network": name, "weights": source}
        folder.save(Embedding(photos["id"].tolist()[:count], vectors), wanted={}, overview=overview)
        rows.append(overview)
    files.write_table(folder.folder / "networks.csv", pd.DataFrame(rows))
    times = [("MobileNetV2", "ONNX Runtime", 1, 7.0, 9.0), ("MobileNetV2", TENSORFLOW, 1, 20.0, 9.0)]
    columns = ["model", "runtime", "batch", "median_ms", "file_mb"]
    files.write_table(paths.result("latency"), pd.DataFrame(times, columns=columns))
    files.write_json(paths.training_seconds / "infogan-seed-1.json", 80.0)
    files.write_text(paths.gan_seed(1) / "training.csv", "step\n8\n")


def judge(opened: ablation.Ablation, *, split: str, models: list[Model]) -> pd.DataFrame:
    """Judge controls and models as notebook 10 does."""
    rows = [ablation.judge_controls(opened, split=split)]
    for variant in dict.fromkeys(model.variant for model in models):
        names = [model.recipe for model in models if model.variant == variant]
        for seed in opened.seeds(variant, split=split):
            rows.append(ablation.judge_trunk(opened, variant, seed, names, split=split))
    return pd.concat(rows, ignore_index=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, repository):
    """A small study with networks; the trainings `ema` and `code_supervision` are drawn weights here."""
    root = tmp_path_factory.mktemp("project")
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).write_bytes((repository / name).read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOLESEARCH_ROOT", str(root))
        study = open_small_study()
        study = dataclasses.replace(study, evaluation=study.evaluation.replaced(choose_k=1))
        add_networks(study.paths)
        settings = VariantSettings.load("smoke", seeds=[1], finalist_seeds=[1, 2, 3])
        trainings = VariantTrainings("smoke", settings)
        trainings.trunk = lambda variant, seed: build_discriminator(study.gan, seed=seed + 100)
        opened = ablation.Ablation(study, JudgingSettings.load("smoke", **JUDGING), trainings)
        models = [Model(variant, name) for variant in ("paper", "untrained") for name in METHODS]
        models += [Model(variant, "plain") for variant in ("infogan", "ema", "code_supervision")]
        queries = judge(opened, split="validation", models=models)
        finalists = choose_finalists(queries, count=2, most_megabytes=5)
        tested = ablation.tested_models(finalists, best="whitened")
        both = pd.concat([queries, judge(opened, split="test", models=tested)], ignore_index=True)
        timing = LatencySettings.load("smoke")
        controls = ablation.control_names(study, split="test")
        costs = ablation_tables.model_costs(opened, tested, timing)
        costs = pd.concat([costs, ablation_tables.control_costs(study, controls, timing)])
        units = resampling_units(study.photos, window=0)
        trained = pd.DataFrame({"variant": ["ema"], "seed": [1], "seconds": [1.5]})
        given = {"trained": trained, "costs": costs, "finalists": finalists, "units": units}
        table = ablation_tables.precision_table(opened, both, resampling=SETTINGS, **given)
        yield SimpleNamespace(
            opened=opened, models=models, queries=queries, both=both, finalists=finalists, table=table
        )


def test_controls_with_weights_that_saw_all_photos_are_judged(world) -> None:
    there = set(mean_values(world.queries, split="validation").index)
    controls = ("random", "mean_colour", "colour_histogram", "pixels", "hog", "MobileNetV2")
    bare = {(name, "") for name in controls}  # not VGG16, not MobileNet
    assert there >= {*world.models, *bare} and {name for name, _ in there - set(world.models)} == set(
        controls
    )


def test_controls_get_the_same_post_processing(world) -> None:
    """HOG, by hand: length 1, the training photos' mean and components, exponent 1, length 1."""
    opened = world.opened
    photos, pixels = opened.study.split("validation")
    both = [control_features("hog", images) for images in (opened.fitting_pixels, pixels)]
    unit = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in both]
    centred = unit[0] - unit[0].mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    variances = singular[:2] ** 2 / (len(centred) - 1)
    whitened = (unit[1] - unit[0].mean(axis=0)) @ axes[:2].T / np.sqrt(variances)
    whitened /= np.linalg.norm(whitened, axis=1, keepdims=True)
    wanted = ablation.precision(opened.study, whitened.astype(np.float32), photos)["value"].mean()
    found = mean_values(world.queries, split="validation")
    assert found["hog", "normalised_whitened"] == pytest.approx(wanted)
    recipes = {name: set(opened.control_methods(name)) for name in ("random", "hog", "mean_colour")}
    assert recipes["random"] == {""} and recipes["hog"] == {"", *opened.judging.control_recipes}
    short = dataclasses.replace(opened, judging=opened.judging.replaced(whitened_dimensions=3))
    assert set(short.control_methods("mean_colour")) == {"", "normalised"}  # three values, none left over
    assert set(short.control_methods("MobileNet")) == {"", "normalised"}  # no training photo embedded


def test_a_control_is_met_at_its_best_on_validation_photos() -> None:
    queries = answers({
        ("hog", "", 0): [0.5, 0.5], ("hog", "normalised", 0): [0.5, 0.6], ("pixels", "", 0): [0.5, 0.5],
        ("pixels", "normalised", 0): [0.4, 0.6], ("infogan", "plain", 1): [1, 1],
    })  # fmt: skip
    worse = answers({("hog", "normalised", 0): [0, 0], ("hog", "", 0): [1, 1]}, split="test")  # not looked at
    best = ablation.best_controls(pd.concat([queries, worse]))
    assert best == {"hog": "normalised", "pixels": ""}  # a tie leaves a control as it is
    assert ablation.opponents(best) == [("hog", ""), ("hog", "normalised"), ("pixels", "")]


def test_judging_is_the_studys_own(world) -> None:
    """The plain vector of the chosen checkpoint has the precision that stage embed's sweep gave it."""
    sweep = files.read_table(world.opened.study.paths.checkpoints, made_by="stage embed")
    row = sweep[sweep["chosen"] & (sweep["gallery"] == "product_excluded") & (sweep["k"] == 1)]
    value = mean_values(world.queries, split="validation")["paper", "plain"]
    assert value == pytest.approx(float(row["value"].iloc[0]), abs=1e-6)


def test_photos_that_nobody_can_judge_are_named(world) -> None:
    """A product's four photos leave four of eight: no query has five others."""
    study, vectors = world.opened.study, np.zeros((8, 2), np.float32)
    photos, _ = study.split("validation")
    five = dataclasses.replace(study, evaluation=study.evaluation.replaced(choose_k=5))
    with pytest.raises(InputError, match="of 8 validation photos none has 5 others in the gallery"):
        ablation.precision(five, vectors, photos)
    assert ablation.precision(study, vectors, photos)["value"].notna().all()


def test_test_labels_have_no_say_in_the_choice(world) -> None:
    """The same judging with the test photos' labels exchanged: equal validation rows, equal finalists."""
    study = world.opened.study
    other = study.photos["label"].map({"dark": "light", "light": "dark"})
    wrong = other.where(study.photos["split"] == "test", study.photos["label"])
    assert (wrong != study.photos["label"]).sum() == 12
    changed = dataclasses.replace(study, photos=study.photos.assign(label=wrong))
    queries = judge(dataclasses.replace(world.opened, study=changed), split="validation", models=world.models)
    pd.testing.assert_frame_equal(queries, world.queries)
    assert choose_finalists(queries, count=2, most_megabytes=5) == world.finalists


def test_finalists_need_no_labels_and_get_three_seeds(world) -> None:
    names = [model.variant for model in world.finalists]
    assert len(names) == 2 and not {"code_supervision", "hog", "MobileNetV2"} & set(names)
    tested = world.both[world.both["split"] == "test"].groupby("variant")["seed"].unique()
    for name in names:
        assert sorted(tested[name]) == {"paper": [1]}.get(name, [1, 2, 3])


def test_the_precision_table(world) -> None:
    table = world.table.set_index(["variant", "recipe", "seed", "split"]).sort_index()
    assert world.table.columns.tolist() == ablation_tables.LADDER
    assert table["value"].between(table["low"] - 1e-9, table["high"] + 1e-9).all()
    paper, hog = table.loc["paper", "plain", "all", "validation"], table.loc["hog", "", "all", "test"]
    assert (paper["rung"], paper["group"], paper["n"]) == ("the paper's recipe", "paper", 8)
    chosen = files.read_table(world.opened.study.paths.checkpoints, made_by="embed")
    assert paper["seconds"] == pytest.approx(80 * chosen.loc[chosen["chosen"], "step"].iloc[0] / 8)
    assert hog["ms_per_photo"] > 0 and (hog["megabytes"], hog["seconds"]) == (0, 0)
    mobile = table.loc["MobileNetV2", "", "all", "test"]
    assert (mobile["ms_per_photo"], mobile["megabytes"], mobile["needs_labels"]) == (7.0, 9.0, True)
    first = world.finalists[0]
    row = table.loc[first.variant, first.recipe, "all", "test"]
    assert row["finalist"] == "1" and row["ms_per_photo"] > 0
    network, fitted = world.opened.fitted(first, seed=1)  # the file holds little more than the numbers
    assert row["megabytes"] == pytest.approx(fitted.megabytes(network), rel=0.3)


def test_goals_by_hand(world) -> None:
    """HOG at its best is beaten, classes alike not; no network is there; a small file, three times."""
    best = Model("ema", "plain")
    row = {"split": "test", "rung": "goal", **best._asdict(), "reason": "why", "low": 0.1, "high": 0.3}
    row |= {"against": "hog", "difference": 0.2}
    rivals = [("", "micro", "lower"), ("normalised", "micro", "higher"), ("normalised", "macro", "undecided")]
    compared = pd.DataFrame([dict(row, against_recipe=name, average=average, verdict=verdict)
                             for name, average, verdict in rivals])  # fmt: skip
    given = {"best": best, "controls": {"hog": "normalised"}}
    for milliseconds, reached in ((0.34, "yes"), (0.59, "yes"), (0.61, "no")):  # the papers' takes 1
        table = pd.DataFrame([("hog", "", 0, 0), (*best, 3.9, milliseconds), ("paper", "plain", 1, 1)])
        table.columns = ["variant", "recipe", "megabytes", "ms_per_photo"]
        found = ablation_tables.goals(world.opened, table, compared, **given).set_index("goal")
        assert found["reached"].tolist() == ["yes", "no", *["not testable here"] * 4, "yes", reached]
    assert found.loc["precision above HOG: length 1"].tolist()[2:] == [0.2, 0.1, 0.3, "yes", "why"]
    assert found.index[1] == "precision above HOG: length 1, classes alike"


def test_the_chart_shows_both_splits(world) -> None:
    figure = ablation_figures.ladder(world.table, profile="smoke")
    text = " ".join(words(figure))
    assert "Validation photos: every idea" in text and "n = 12 test queries" in text
    assert "EMA of D" in text and "ImageNet MobileNetV2" in text and "layers, maximum" in text
    lines = ablation_figures.best_of_each(world.table[world.table["variant"] == "hog"])
    wanted = ablation.best_controls(world.queries)["hog"]
    assert lines["recipe"].unique().tolist() == [wanted] and lines["split"].tolist() == ["validation", "test"]
    assert figure._repr_png_() == ablation_figures.ladder(world.table, profile="smoke")._repr_png_()


def test_the_exported_file_gives_the_vectors_that_were_judged(world, tmp_path) -> None:
    opened, best, papers = world.opened, world.finalists[0], export.PAPERS_MODEL
    files.write_json(opened.study.paths.manifest, {"sha256": "0" * 64})
    _, pixels = opened.study.split("test")
    for model in (best, papers):
        card = export.write_model(opened, model, world.table, tmp_path / "model.onnx")
        found = EmbedderFile(tmp_path / "model.onnx")
        network, fitted = opened.fitted(model, seed=card["seed"])
        vectors = photo_vectors(network, pixels, [fitted.method])[fitted.method.before_whitening]
        wanted = fitted.finish(vectors).numpy()
        np.testing.assert_allclose(found.embed(pixels), wanted, rtol=1e-3, atol=1e-4)
        assert found.card == card and card["judged"]["queries"] == 12 and found.catalog.fit == "stretch"
        assert card["judged"]["low"] <= card["judged"]["value"] <= card["judged"]["high"]
    with pytest.raises(InputError, match=r"embeds a photo otherwise than the network did \(cosine 0.0"):
        export.check_alike(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[::-1])


# --- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipes": ["plain", "sharpened"]}, "'sharpened' is none of plain, normalised"),
        ({"recipes": ["whitened"]}, "recipes hold 'plain' and at least one more"),
        ({"control_recipes": ["layers_max"]}, "control_recipes: 'layers_max' pools layers"),
        (
            {"dictionary_recipes": ["layers_max"], "layers": [3]},
            "dictionary_recipes: 'layers_max' pools layer 3",
        ),
        ({"finalists": 0}, "finalists: .*greater than 0"),
        ({"layers": [7]}, r"layers.0: .*less than or equal to 6"),
    ],
)
def test_impossible_judging_is_refused(workspace, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        JudgingSettings.load("smoke", **change)


def test_a_layer_that_the_trunk_on_edges_lacks_is_refused_before_any_work(workspace) -> None:
    """params.yaml's sample trains on edges, smoke does not; nothing was prepared, which is said later."""
    with pytest.raises(InputError, match=r"layers_max\w* pools layer 6, .*; choose layers from 1 to 5"):
        ablation.Ablation.open("sample", layers=[1, 6])
    for profile, layers in (("sample", [1, 5]), ("smoke", [1, 6])):
        with pytest.raises(InputError, match="stage prepare"):
            ablation.Ablation.open(profile, layers=layers)


def test_the_trunk_on_edges_has_as_many_layers_as_are_allowed() -> None:
    trunk = gradient_trunk.build_gradient_trunk((16, 24), leak=0.2, norm_momentum=0.9, seed=1)
    assert len(trunk(np.zeros((1, 16, 24, 3), np.float32)).activations) == gradient_trunk.LAYERS


def test_judging_of_every_profile_can_be_read(workspace) -> None:
    for profile in ("smoke", "sample", "photos", "chapter", "paper"):
        assert JudgingSettings.load(profile).recipes[0] == "plain"
    first = JudgingSettings.load("paper").methods["first_mean_half_whitened"]
    assert (first.layers, first.grid, first.pooling, first.exponent) == ((1, 2), 6, "mean", 0.5)
