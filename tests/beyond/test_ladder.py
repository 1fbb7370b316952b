"""The ladder: choice on validation photos alone, paired effects by hand, tables and chart of a small run."""

import dataclasses
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from small_world import TENSORFLOW, open_small_study

import solesearch
from solesearch.beyond import ladder, ladder_effects, ladder_tables
from solesearch.beyond.ladder_effects import (
    Comparison,
    Key,
    decide,
    effects,
    mean_values,
    seed_differences,
    untrained_twin,
    validation_comparisons,
)
from solesearch.core import files
from solesearch.core.embedding import Embedding
from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.figures import registry
from solesearch.figures.registry import drawn
from solesearch.networks.comparison import OVERVIEW, NetworkFolder
from solesearch.retrieval.uncertainty import Resampling

SETTINGS = Resampling(resamples=400, permutations=999, confidence=0.95, significance=0.05, seed=1)
JUDGING = {
    "recipes": ["plain", "whitened", "layers_max"], "variant_recipes": [], "layers": [1, 2],
    "lower_layers": [1, 2], "grid": 4, "first_layers": [1], "first_grid": 3, "gem_power": 3.0,
    "whitened_dimensions": 2, "shrinkage": 0.0,
    "exponent": 0.5, "fitting_photos": 0, "finalists": 2, "most_megabytes": 5, "most_ms": 2,
}  # fmt: skip


def answers(
    values: dict[tuple[str, str, int], list[float]], *, split: str = "validation", megabytes: float = 1.0
):
    """Return queries: for each (variant, recipe, seed) the precision of photos 0, 1, ..."""
    rows = [
        (variant, recipe, seed, split, str(photo), value, 8, megabytes)
        for (variant, recipe, seed), found in values.items()
        for photo, value in enumerate(found)
    ]
    names = ["variant", "recipe", "seed", "split", "id", "value", "dimensions", "megabytes"]
    return pd.DataFrame(rows, columns=names)


# --- effects ---------------------------------------------------------------------------------------------


def test_an_effect_is_paired_by_photo_and_seed() -> None:
    """Seeds 1 and 2 are on both sides, 3 on one; photo by photo the gaps are .1, .3 and 0, .2."""
    queries = answers({
        ("a", "plain", 1): [0.6, 0.9], ("a", "plain", 2): [0.5, 0.9], ("a", "plain", 3): [0, 0],
        ("b", "plain", 1): [0.5, 0.6], ("b", "plain", 2): [0.5, 0.7], ("hog", "", 0): [0.2, 0.4],
    })  # fmt: skip
    wide = queries.pivot_table(index="id", columns=["variant", "recipe", "seed"], values="value")
    gaps = seed_differences(wide, Key("a", "plain"), Key("b", "plain"))
    assert gaps.columns.tolist() == [1, 2]
    np.testing.assert_allclose(gaps.to_numpy(), [[0.1, 0], [0.3, 0.2]])
    units = pd.Series([0, 1], index=["0", "1"])
    compared = [
        Comparison("one", "validation", Key("a", "plain"), Key("b", "plain")),
        Comparison("two", "validation", Key("b", "plain"), Key("hog", "")),
        Comparison("two", "validation", Key("hog", ""), Key("b", "plain")),
    ]
    table = effects(queries, compared, units, SETTINGS)
    first = table.iloc[0]
    assert (first["difference"], first["seed_low"], first["seed_high"]) == pytest.approx((0.15, 0.1, 0.2))
    assert (first["low"], first["high"]) == pytest.approx((0.05, 0.25))  # one photo's gap, or the other's
    assert (first["seeds"], first["n"], first["units"]) == ("1 2", 2, 2)
    assert table["difference"].tolist()[1:] == pytest.approx([0.275, -0.275])
    assert (table["p"] > 0.3).all()  # of four sign patterns two are as far
    assert table["verdict"].tolist() == ["undecided"] * 3
    with pytest.raises(InputError, match="no seed in common"):
        seed_differences(wide[[("a", "plain", 3), ("b", "plain", 1)]], Key("a", "plain"), Key("b", "plain"))


def test_a_clear_effect_is_decided_and_holm_counts_its_rung_alone() -> None:
    draw = np.random.default_rng(0)
    low, gap = draw.uniform(0, 0.4, 60), draw.uniform(0.05, 0.4, 60)
    queries = answers({("a", "plain", seed): list(low + gap) for seed in (1, 2)}
                      | {("b", "plain", seed): list(low) for seed in (1, 2)})  # fmt: skip
    pair = (Key("a", "plain"), Key("b", "plain"))
    compared = [Comparison("alone", "validation", *pair)]
    compared += [Comparison("many", "validation", *pair), Comparison("many", "validation", *pair[::-1])]
    table = effects(queries, compared, pd.Series(range(60), index=map(str, range(60))), SETTINGS)
    assert table["verdict"].tolist() == ["higher", "higher", "lower"]
    assert table["p"].tolist() == pytest.approx([0.001] * 3)  # none of 999 sign patterns is as far
    assert table["p_holm"].tolist() == pytest.approx([0.001, 0.002, 0.002])


@pytest.mark.parametrize(
    ("change", "verdict", "reason"),
    [
        ({}, "higher", ""),
        ({"seeds": "0"}, "higher", ""),  # nothing drawn on either side
        ({"seeds": "3"}, "undecided", "one training seed"),
        ({"seed_low": -0.01}, "undecided", "seeds do not agree"),
        ({"p_holm": 0.05}, "undecided", "Holm's p is not below 0.05"),
        ({"low": -0.001}, "undecided", "the interval holds 0"),
        ({"difference": -0.1, "low": -0.2, "high": -0.05, "seed_low": -0.2, "seed_high": -0.1}, "lower", ""),
    ],
)
def test_decide(change: dict, verdict: str, reason: str) -> None:
    row = {"seeds": "1 2", "seed_low": 0.05, "seed_high": 0.2, "p_holm": 0.01, "low": 0.05, "high": 0.2}
    found = decide({**row, "difference": 0.1, **change}, significance=0.05)
    assert found[0] == verdict and reason in found[1]


def test_a_training_on_edges_is_held_against_the_same_trunk_untrained() -> None:
    """Edges help before anything is trained, so a drawn discriminator is no fair opponent."""
    names = ("paper", "untrained", "infogan", "untrained_gradients", "contrastive_gradients")
    queries = answers({(name, "plain", 1): [0.5] for name in names})
    found = [one for one in validation_comparisons(queries, best="plain") if one.rung == "training, on edges"]
    assert [(one.model.variant, one.against.variant) for one in found] == [
        ("contrastive_gradients", "untrained_gradients")
    ]
    assert untrained_twin("infogan") == untrained_twin("paper") == "untrained"
    tested = answers({(name, "plain", 1): [0.5] for name in names}, split="test")
    pairs = ladder_effects.tested_comparisons(tested, [Key("contrastive_gradients", "plain")], best="plain")
    assert Key("untrained_gradients", "plain") in [one.against for one in pairs]


# --- choice ----------------------------------------------------------------------------------------------


def choose(queries: pd.DataFrame, **change) -> list[Key]:
    return ladder.choose_finalists(
        queries, **{"count": 2, "most_megabytes": 5, "left_out": ["labelled", "hog"], **change}
    )


def test_finalists_are_the_best_recipe_of_each_label_free_trunk() -> None:
    queries = answers({
        ("a", "plain", 1): [0.5, 0.5], ("a", "whitened", 1): [0.9, 0.7], ("a", "whitened", 2): [0.7, 0.7],
        ("b", "plain", 1): [0.6, 0.7], ("c", "plain", 1): [0.1, 0.1],
        ("labelled", "plain", 1): [1, 1], ("hog", "", 0): [1, 1],
    })  # fmt: skip
    assert choose(queries) == [("a", "whitened"), ("b", "plain")]  # .75, .65
    assert choose(queries, count=9)[-1] == ("c", "plain")
    assert choose(queries, left_out=["hog"])[0] == ("labelled", "plain")
    large = queries["recipe"].eq("whitened") * 6.0
    assert choose(queries.assign(megabytes=large)) == [("b", "plain"), ("a", "plain")]
    with pytest.raises(InputError, match="most_megabytes 5: no model is so small"):
        choose(queries.assign(megabytes=6.0))
    test = answers({("c", "plain", 1): [1, 1]}, split="test")  # excellent on test photos: not looked at
    assert choose(pd.concat([queries, test])) == choose(queries)


def test_the_best_recipe_is_chosen_on_the_papers_trunk() -> None:
    queries = answers({
        ("paper", "plain", 1): [0.9], ("paper", "whitened", 1): [0.6], ("paper", "layers_max", 1): [0.7],
        ("other", "whitened", 1): [1.0],
    })  # fmt: skip
    assert ladder.best_recipe(queries, most_megabytes=5) == "layers_max"
    large = queries["recipe"].eq("layers_max") * 6.0
    assert ladder.best_recipe(queries.assign(megabytes=large), most_megabytes=5) == "whitened"
    with pytest.raises(InputError, match="no recipe is so small"):
        ladder.best_recipe(queries.assign(megabytes=6.0), most_megabytes=5)


# --- a small run -----------------------------------------------------------------------------------------


def stub_variants(paths: Paths) -> ModuleType:
    """Two trainings that are drawn weights: `infogan` and `helped`, and one that needs labels."""
    module = ModuleType("solesearch.beyond.variants")
    titles = {"infogan": "short InfoGAN", "helped": "other training", "labelled": "with labels"}
    module.VARIANTS = {
        name: SimpleNamespace(
            title=title, idea="drawn", needs_labels=name == "labelled", trunk="discriminator"
        )
        for name, title in titles.items()
    }

    def settings(profile, overrides=None):
        return SimpleNamespace(variants=list(titles), seeds=[1], finalist_seeds=[1, 2, 3])

    def train(profile, overrides=None, *, wanted=None):
        pairs = wanted or [(name, 1) for name in titles]
        module.trained += pairs
        rows = [(name, seed, 4, 1.5 * seed) for name, seed in pairs]
        return pd.DataFrame(rows, columns=["variant", "seed", "steps", "seconds"])

    def trunk(profile, variant, seed, overrides=None):
        from solesearch.gan.infogan import build_discriminator
        from solesearch.gan.training import load_gan

        gan = load_gan(profile, image_size=(32, 48))
        assert (variant, seed) in module.trained
        return build_discriminator(gan, seed=seed + 100 * list(titles).index(variant))

    module.GRADIENTS = "gradients"
    module.trained, module.load_variant_settings, module.train_variants = [], settings, train
    module.load_trunk = trunk
    return module


def add_networks(paths: Paths) -> None:
    """MobileNetV2 with real weights saw every photo, MobileNet some, VGG16 has none; latency of the first."""
    photos = files.read_table(paths.photos, made_by="stage prepare")
    folder, rows = NetworkFolder(paths.networks), []
    sources = [("MobileNetV2", "placed", 24), ("MobileNet", "placed", 3), ("VGG16", "untrained", 24)]
    for name, source, count in sources:
        vectors = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
        overview = {**dict.fromkeys(OVERVIEW, ""), "model": name, "network": name, "weights": source}
        folder.save(Embedding(photos["id"].tolist()[:count], vectors), wanted={}, overview=overview)
        rows.append(overview)
    for path in (folder.folder / "networks.csv", paths.result("networks")):
        files.write_table(path, pd.DataFrame(rows))
    times = [("MobileNetV2", "ONNX Runtime", 1, 7.0, 9.0), ("MobileNetV2", TENSORFLOW, 1, 20.0, 9.0)]
    columns = ["model", "runtime", "batch", "median_ms", "file_mb"]
    files.write_table(paths.result("latency"), pd.DataFrame(times, columns=columns))
    files.write_json(paths.training_seconds / "infogan-seed-1.json", 80.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, repository):
    """A small study with networks and stubbed trainings, opened as a ladder; judged on both splits."""
    root = tmp_path_factory.mktemp("project")
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).write_bytes((repository / name).read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOLESEARCH_ROOT", str(root))
        paths = open_small_study().paths
        add_networks(paths)
        stub = stub_variants(paths)
        patch.setitem(sys.modules, "solesearch.beyond.variants", stub)
        patch.setattr(solesearch, "variants", stub, raising=False)
        opened = ladder.Ladder.open("smoke", {"ladder.judging": JUDGING, "evaluation.choose_k": 1})
        trained = stub.train_variants("smoke")
        queries = ladder.judge_validation(opened)
        best = ladder.best_recipe(queries, most_megabytes=opened.judging.most_megabytes)
        finalists = ladder.finalists_of(opened, queries)
        trained = ladder.with_finalists(opened, trained, finalists)
        both = ladder.with_test(opened, queries, finalists, best=best)
        tables = ladder_tables.write_ladder(opened, both, trained=trained, finalists=finalists, best=best)
        yield SimpleNamespace(
            opened=opened,
            queries=queries,
            both=both,
            best=best,
            finalists=finalists,
            tables=tables,
            stub=stub,
        )


def test_everything_is_judged_on_validation_photos(world) -> None:
    there = set(mean_values(world.queries, split="validation").index)
    recipes = {(name, recipe) for name in ("paper", "untrained") for recipe in JUDGING["recipes"]}
    trainings = {(name, one) for name in world.stub.VARIANTS for one in ("plain", world.best)}
    controls = {(name, "") for name in
                ("random", "mean_colour", "colour_histogram", "pixels", "hog", "MobileNetV2")}  # fmt: skip
    assert there == recipes | trainings | controls  # VGG16 has no weights, MobileNet saw three photos
    assert set(world.queries["split"]) == {"validation"}


def test_judging_is_the_studys_own(world) -> None:
    """The plain vector of the chosen checkpoint has the precision that stage embed's sweep gave it."""
    sweep = files.read_table(world.opened.study.paths.embeddings / "checkpoints.csv", made_by="stage embed")
    row = sweep[sweep["chosen"] & (sweep["gallery"] == "product_excluded") & (sweep["k"] == 1)]
    value = mean_values(world.queries, split="validation")["paper", "plain"]
    assert value == pytest.approx(float(row["value"].iloc[0]), abs=1e-6)


def test_photos_that_nobody_can_judge_are_named(world) -> None:
    """A product's four photos leave four of eight: no query has five others."""
    study = world.opened.study
    photos, _ = study.split("validation")
    five = dataclasses.replace(study, evaluation=dataclasses.replace(study.evaluation, choose_k=5))
    with pytest.raises(InputError, match="of 8 validation photos none has 5 others in the gallery"):
        ladder.precision(five, np.zeros((8, 2), np.float32), photos)
    assert ladder.precision(study, np.zeros((8, 2), np.float32), photos)["value"].notna().all()


def test_test_labels_have_no_say_in_the_choice(world) -> None:
    """The same judging with the test photos' labels exchanged: equal validation rows, equal finalists."""
    study = world.opened.study
    other = {"dark": "light", "light": "dark"}
    wrong = study.photos["label"].map(other).where(study.photos["split"] == "test", study.photos["label"])
    assert (wrong != study.photos["label"]).sum() == 12
    changed = dataclasses.replace(study, photos=study.photos.assign(label=wrong))
    again = dataclasses.replace(world.opened, study=changed)
    queries = ladder.judge_validation(again)
    pd.testing.assert_frame_equal(queries, world.queries)
    assert ladder.finalists_of(again, queries) == world.finalists
    labels = study.photos["label"].where(study.photos["split"] != "validation", "dark")
    blind = dataclasses.replace(
        world.opened, study=dataclasses.replace(study, photos=study.photos.assign(label=labels))
    )
    rows = world.queries[world.queries["variant"].isin(["hog", "pixels"])]["value"]
    found = ladder.judge_controls(blind, split="validation").query("variant in ['hog', 'pixels']")["value"]
    assert found.tolist() != rows.tolist()  # those of validation photos do


def test_finalists_need_no_labels_and_get_three_seeds(world) -> None:
    names = [key.variant for key in world.finalists]
    assert len(names) == 2 and not {"labelled", "hog", "MobileNetV2"} & set(names)
    tested = world.both[world.both["split"] == "test"].groupby("variant")["seed"].unique()
    seeds = {"paper": [1], "untrained": [1, 2, 3]}
    for name in names:
        assert sorted(tested[name]) == seeds.get(name, [1, 2, 3])
    with pytest.raises(InputError, match="the test photos were judged already"):
        ladder.with_test(world.opened, world.both, world.finalists, best=world.best)


def test_ladder_table(world) -> None:
    table = world.tables["ladder"].set_index(["variant", "recipe", "seed", "split"]).sort_index()
    assert table["value"].between(table["low"] - 1e-9, table["high"] + 1e-9).all()
    assert table["group"].unique().tolist() and set(table["group"]) <= {
        "paper", "post-hoc", "training", "together", "control",
    }  # fmt: skip
    paper, hog = table.loc["paper", "plain", "all", "validation"], table.loc["hog", "", "all", "test"]
    assert (paper["rung"], paper["group"], paper["n"]) == ("the paper's recipe", "paper", 8)
    chosen = files.read_table(world.opened.study.paths.embeddings / "checkpoints.csv", made_by="embed")
    assert paper["seconds"] == pytest.approx(80 * chosen.loc[chosen["chosen"], "step"].iloc[0] / 8)
    assert hog["ms_per_photo"] > 0 and (hog["megabytes"], hog["seconds"]) == (0, 0)
    mobile = table.loc["MobileNetV2", "", "all", "test"]
    assert (mobile["ms_per_photo"], mobile["megabytes"], mobile["needs_labels"]) == (7.0, 9.0, True)
    first = world.finalists[0]
    row = table.loc[first.variant, first.recipe, "all", "test"]
    assert row["finalist"] == "1" and row["ms_per_photo"] > 0
    size = (world.opened.study.paths.ladder / "best.onnx").stat().st_size / 1e6
    assert row["megabytes"] == pytest.approx(size, rel=0.05)


def test_effects_and_goals_tables(world) -> None:
    found, goals = world.tables["ladder_effects"], world.tables["ladder_goals"].set_index("goal")
    assert (
        set(found["split"]) == {"validation", "test"}
        and not found.duplicated(["rung", "split", "variant", "recipe", "against", "against_recipe"]).any()
    )
    assert set(found.loc[found["rung"] == "training, plain", "against"]) == {"infogan", "untrained"}
    row = found[(found["rung"] == "finalist") & (found["against"] == "hog")].iloc[0]
    goal = goals.loc["precision above HOG"]
    assert (goal["measured"], goal["low"], goal["high"]) == (row["difference"], row["low"], row["high"])
    assert goal["reached"] == ("yes" if row["verdict"] == "higher" else "no")
    assert goals.loc["embedding file", "reached"] == "yes" and len(goals) == 4


def test_chart_and_sentences_come_from_the_committed_tables(world) -> None:
    paths = world.opened.study.paths
    figure = drawn(registry.CHARTS["ladder"], paths)
    words = " ".join(text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text")))
    assert "Validation photos: every idea" in words and "n = 12 test queries" in words
    assert "other training" in words and "ImageNet MobileNetV2" in words
    pictures = [figure._repr_png_(), drawn(registry.CHARTS["ladder"], paths)._repr_png_()]
    assert pictures[0] == pictures[1]
    sentences = ladder.worth("smoke")
    hog = (
        world.tables["ladder"]
        .query("variant == 'hog' and split == 'test' and seed == 'all'")["value"]
        .iloc[0]
    )
    assert f"HOG ({hog:.3f})" in sentences and "12 test photos" in sentences
    assert sentences.count(". ") == 1 and sentences.endswith(".")  # two sentences


# --- words and settings ----------------------------------------------------------------------------------


def write_tables(paths: Paths, *, verdict: str) -> None:
    """Tables by hand: paper .82 after .80, the best model .91 beside HOG .90."""
    models = [
        ("paper", "plain", 0.82, "InfoGAN", ""), ("untrained", "plain", 0.80, "untrained", ""),
        ("best", "whitened", 0.91, "other: whitened", "1"), ("hog", "", 0.90, "HOG", ""),
    ]  # fmt: skip
    table = pd.DataFrame(models, columns=["variant", "recipe", "value", "title", "finalist"])
    table = table.assign(split="test", low=table["value"] - 0.01, high=table["value"] + 0.01)
    seeds = {"all": 0.0, "1": -0.01, "2": 0.01, "3": 0.4}  # the third is on one side alone
    by_seed = [table.assign(seed=seed, value=table["value"] + off) for seed, off in seeds.items()]
    table = pd.concat(by_seed)
    files.write_table(paths.result("ladder"), table)
    rows = [
        ("adversarial training", "paper", "plain", "untrained", "plain", 0.02, verdict),
        ("finalist", "best", "whitened", "hog", "", 0.01, "undecided"),
    ]
    names = ["rung", "variant", "recipe", "against", "against_recipe", "difference", "verdict"]
    found = pd.DataFrame(rows, columns=names).assign(
        split="test", k=5, n=1440, low=0.01, high=0.03, seeds="1 2"
    )
    files.write_table(paths.result("ladder_effects"), found)


@pytest.mark.parametrize(("verdict", "words"), [("higher", "it helps"), ("undecided", "undecided")])
def test_the_sentences_follow_the_tables(workspace, verdict: str, words: str) -> None:
    assert ladder.worth("zappos").endswith("not run yet for zappos.")
    write_tables(Paths.of("zappos"), verdict=verdict)
    found = ladder.worth("zappos")
    assert "On 1,440 test photos of the real photographs" in found
    assert f"0.800 to 0.820 with their vector (+0.020, 95 % interval +0.010 to +0.030: {words})" in found
    assert "reaches 0.910 (0.900 to 0.920): not told apart from HOG (0.900)." in found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipes": ["plain", "sharpened"]}, "recipes are plain, normalised"),
        ({"recipes": ["whitened"]}, "recipes hold 'plain' and at least one more"),
        ({"finalists": 0}, "finalists is at least 1"),
        ({"most_ms": 0}, "lie above 0"),
        ({"layers": [7]}, "layers lie between 1 and 6"),
    ],
)
def test_impossible_judging_is_refused(workspace, change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ladder.load_judging("smoke", {"ladder.judging": {**JUDGING, **change}})


def test_judging_of_every_profile_can_be_read(workspace) -> None:
    for profile in ("smoke", "sample", "zappos", "paper"):
        assert ladder.load_judging(profile).recipes[0] == "plain"
    with pytest.raises(InputError, match=r"smoke\.ladder has no `judging`"):
        ladder.load_judging("smoke", {"ladder.judging": None})
