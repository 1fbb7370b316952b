"""Readings change one choice at a time; mechanics and the oracle run on a small study."""

import numpy as np
import pandas as pd
import pytest
from small_world import open_small_study

from solesearch.claims import leakage, mechanics, readings
from solesearch.core.errors import InputError
from solesearch.evaluation.study import judge_checkpoints, model_vectors, read_checkpoints
from solesearch.photos.photo import IMAGE_SIZES


def settings(names: tuple[str, ...] = (), steps: int = 0) -> readings.ClaimSettings:
    return readings.ClaimSettings(worst_pairs=2, reading_steps=steps, costly_readings=list(names))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, repository):
    """One small study for the whole module; nothing here writes into it but its own outputs."""
    root = tmp_path_factory.mktemp("project")
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).write_bytes((repository / name).read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOLESEARCH_ROOT", str(root))
        yield open_small_study()


def test_every_cheap_reading_is_there_and_changes_are_against_its_default(opened) -> None:
    judged = judge_checkpoints(opened, split="test")
    oracle = leakage.beside_validation(judged, read_checkpoints(opened.paths))
    photos, vectors = model_vectors(opened, "infogan", seed=1)
    queries = opened.judge(vectors, photos, model="infogan", seed=1)
    table = readings.readings(opened, queries, oracle, settings())
    assert " ".join(table.columns) == "choice reading default gallery k value change n note"
    run = table[table["value"].notna()]
    defaults = run[run["default"]].set_index("choice")["value"]
    assert len(set(defaults.round(9))) == 1  # one default, whatever the choice
    assert defaults["k"] == pytest.approx(readings.judged(opened, [vectors], photos)[0])
    assert (run["change"] - (run["value"] - run["choice"].map(defaults))).abs().max() < 1e-12
    at_test_time = {"batch norm at test time", "pixel range at test time", "fit at test time"}
    assert at_test_time | {"k", "gallery", "label map", "distance", "features"} <= set(run["choice"])
    left_out = table[table["value"].isna()]
    assert left_out["note"].str.startswith("not run here").all()
    assert {"input size", "generator dropout", "generator grows by"} <= set(left_out["choice"])
    assert len(oracle) == 3 * 2 * 2  # checkpoints, galleries, ks


def test_mechanics_build_and_search_for_real(opened) -> None:
    value = mechanics.mechanics(opened).set_index("check")["value"].to_dict()
    height, width = IMAGE_SIZES["chapter-207"]
    assert value["features chapter-207"] == -(-height // 8) * -(-width // 8) * 16 == 10816
    assert value["features paper-64x96"] == 8 * 12 * 16
    assert (value["latent P"], value["latent C"], value["code head"]) == (108, 109, 8)
    assert (value["image height as printed"], value["image height as read"]) == (4, 64)
    assert (value["index finds the nearest"], value["query in its own answer"]) == (1, 0)
    assert (value["labels in training"], value["vector change"]) == (0, 0)


def test_a_label_among_the_settings_would_be_counted(opened) -> None:
    path = opened.paths.gan_seed(1) / "config.json"
    before = path.read_text()
    path.write_text('{"settings": {"noise": 1}, "labels_sha256": ""}')
    found = mechanics.labels_used(opened)
    path.write_text(before)
    assert found[1] == 1


def test_batch_statistics_leave_the_network_as_it_was(opened) -> None:
    _, pixels = opened.split("test")
    network = opened.discriminator(seed=1, step=4)
    plain = network.embed(pixels)
    first, again = (
        readings.batch_statistics(opened, opened.discriminator(seed=1, step=4), pixels) for _ in range(2)
    )
    assert np.array_equal(first, again)  # no dropout, one fixed order
    assert not np.allclose(first, plain)
    assert [layer.rate for layer in network.discriminator.dropouts] == [0.5] * 5


def test_transforms_by_hand() -> None:
    vectors = np.array([[3, -4], [0, 0]], np.float32)
    changed = {reading: change(vectors).tolist() for (_, reading), change in readings.TRANSFORMS.items()}
    assert np.allclose(changed["cosine"], [[0.6, -0.8], [0, 0]])
    assert changed["negative values set to 0"] == [[3, 0], [0, 0]]
    assert changed["clipped to -1..1"] == [[1, -1], [0, 0]]


def test_label_maps() -> None:
    eight = ["heels", "sandals", "sports", "boots", "high_boots", "loafers", "slippers", "flats"]
    photos = pd.DataFrame({"id": [f"{n}.jpg" for n in range(9)], "label": [*eight, "handbags"]})
    found = readings.other_labels(photos, official=False)
    four, without = found["UT-Zap50K's four categories, handbags"], found["without handbags"]
    assert four.tolist() == [
        *("shoes", "sandals", "shoes", "boots", "boots", "shoes", "slippers", "shoes", "handbags")
    ]
    assert without.isna().tolist() == [False] * 8 + [True]
    assert readings.other_labels(photos.head(2), official=False) == {}
    official = pd.DataFrame(
        {"id": ["Shoes/Heels/B/1.2.jpg", "Boots/Ankle/B/3.4.jpg"], "label": ["heels", "boots"]}
    )
    maps = readings.other_labels(official, official=True)
    assert maps["UT-Zap50K's subcategories"].tolist() == ["shoes_heels", "boots_ankle"]
    assert "UT-Zap50K's papers" not in maps  # the same labels are no other reading


def test_unknown_reading_is_named(opened) -> None:
    with pytest.raises(InputError, match=r"costly_readings.*'default', 'upsampling'.*got 'size'"):
        readings.ClaimSettings.load("smoke", costly_readings=["size"])


def test_settings_of_a_costly_reading_differ_in_one_choice(opened) -> None:
    default = readings.reading_settings(opened.gan, "default", steps=6)
    assert (default.steps, default.checkpoint_every) == (6, 6)
    stride = readings.reading_settings(opened.gan, "upsampling", steps=6)
    assert stride == default.replaced(upsampling="stride")
    size = readings.reading_settings(opened.gan, "paper-128x128", steps=6)
    assert size == default.replaced(image_size=(128, 128))


@pytest.mark.slow
def test_costly_readings_are_trained_beside_the_default(opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 4 of the default lies there; the other reading is trained for two photos a batch, four steps."""
    params = (opened.paths.root / "params.yaml").read_text().replace("batch_size: 16", "batch_size: 2")
    (opened.paths.root / "params.yaml").write_text(params)
    rows = readings.costly_readings(opened, settings(("upsampling",), steps=4))
    run = [row for row in rows if np.isfinite(row["value"])]
    assert [row["choice"] for row in run] == ["short training", "generator grows by"]
    assert run[0]["default"] and not run[1]["default"]
    assert "after 4 steps, seed 1" in run[1]["note"]
    assert (opened.paths.claims / "upsampling" / "discriminator-000004.npz").is_file()
    assert not (opened.paths.claims / "default").exists()
