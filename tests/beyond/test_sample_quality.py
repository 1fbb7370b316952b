"""KID, coverage and copies on worked numbers and against plain loops; what must be found is planted."""

import numpy as np
import pytest

from solesearch.beyond import sample_quality as quality
from solesearch.core.errors import InputError

SUBSETS = {"subset": 10, "subsets": 8, "seed": 0}


def plain_kid(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (sum(one * other for one, other in zip(a, b, strict=True)) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    among_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    among_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return among_x + among_y - 2 * sum(kernel(a, b) for a in x for b in y) / (n * m)


def test_kid_on_worked_numbers() -> None:
    """d = 1: k(0, .) = 1 and k(1, 2) = 27, so 1 + 1 - 2 * (1 + 1 + 1 + 27) / 4 = -13."""
    x, y = np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])
    found = quality.kernel_inception_distance(x, y, subset=2, subsets=3, seed=0)
    assert found == pytest.approx((-13, -13, -13, 2))  # a subset of two is the whole


def test_kid_against_a_double_loop_and_its_subsets_enclose_it() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.random((14, 5)), draw.random((11, 5)) + 0.5
    found, again = (quality.kernel_inception_distance(x, y, subset=8, subsets=50, seed=1) for _ in range(2))
    assert found.value == pytest.approx(plain_kid(x, y), rel=1e-12)
    assert found.low < found.value < found.high and found == again


def test_kid_is_zero_on_average_for_one_distribution_and_not_for_two() -> None:
    draw = np.random.default_rng(2)
    same = [
        quality.squared_discrepancy(
            quality.kid_kernel(x, x), quality.kid_kernel(y, y), quality.kid_kernel(x, y)
        )
        for x, y in draw.standard_normal((300, 2, 10, 4))
    ]
    error = np.std(same) / np.sqrt(len(same))
    assert abs(np.mean(same)) < 3 * error and min(same) < 0
    photos = draw.standard_normal((60, 4))
    halves = quality.split_half_distance(photos, subset=100, subsets=30, seed=0)  # 30 is all there is
    assert halves.n == 60 and halves.low < 0 < halves.high
    shifted = quality.kernel_inception_distance(photos[:30] + 1, photos[30:], subset=20, subsets=20, seed=0)
    assert shifted.low > halves.high


@pytest.mark.parametrize("subset", [1, 12])
def test_kid_refuses_subsets_that_cannot_be_drawn(subset: int) -> None:
    x = np.zeros((11, 3))
    with pytest.raises(InputError, match=f"subset: from 2 to the 11 images there are; got {subset}"):
        quality.kernel_inception_distance(x, x, subset=subset, subsets=2, seed=0)
    with pytest.raises(InputError, match="1 and 3 images; two of each"):
        quality.squared_discrepancy(np.ones((1, 1)), np.ones((3, 3)), np.ones((1, 3)))


def plain_coverage(images: np.ndarray, photos: np.ndarray, k: int) -> tuple[float, float]:
    inside, covered = 0, 0
    for i, one in enumerate(photos):
        radius = sorted(np.linalg.norm(one - other) for j, other in enumerate(photos) if j != i)[k - 1]
        within = [np.linalg.norm(one - image) < radius for image in images]
        inside, covered = inside + sum(within), covered + any(within)
    return inside / (k * len(images)), covered / len(photos)


def test_density_and_coverage_against_plain_loops_and_worked_numbers() -> None:
    draw = np.random.default_rng(3)
    photos, images = draw.random((15, 3)), draw.random((9, 3))
    found = quality.density_and_coverage(images, photos, k=4)
    assert found == pytest.approx(plain_coverage(images, photos, 4))
    line = np.array([[0.0], [1.0], [3.0], [7.0]])  # radii at k = 1: 1, 1, 2, 4
    assert quality.density_and_coverage(np.array([[0.5], [3.0]]), line, k=1) == (1.5, 0.75)
    assert quality.density_and_coverage(np.array([[50.0]]), line, k=1) == (0, 0)
    with pytest.raises(InputError, match="neighbours: from 1 to 3; got 4"):
        quality.density_and_coverage(line, line, k=4)


def test_nearest_photo_in_slices_against_plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "SLICE", 3)
    draw = np.random.default_rng(4)
    pixels, queries = draw.integers(0, 9, (10, 2, 3, 3)), draw.random((6, 18)) * 9
    pixels[7] = pixels[2]  # ties go to the first
    queries[0] = pixels[7].ravel()
    rows, distances = quality.nearest_photos(
        queries, pixels, features=lambda some: some.reshape(len(some), -1)
    )
    for query, row, distance in zip(queries, rows, distances, strict=True):
        plain = [np.linalg.norm(query - photo.ravel()) for photo in pixels]
        assert (row, distance) == (int(np.argmin(plain)), pytest.approx(min(plain), abs=1e-9))
    assert rows[0] == 2 and distances[0] == 0


def test_distances_to_others_and_share_below() -> None:
    vectors = np.array([[0.0], [1.0], [4.0]])
    assert quality.mean_distance(vectors) == pytest.approx((1 + 4 + 3) / 3)
    assert quality.to_others(vectors).tolist() == [1, 1, 3]
    assert quality.share_below(np.array([0.5, 2, 9]), np.arange(101), quantile=0.01) == pytest.approx(1 / 3)
    alike = np.arange(1000.0)
    assert quality.share_below(alike, alike, quantile=0.05) == pytest.approx(0.05)


def flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(float)


# training and test photos alike; the generator of seed 1 copied half of the former
DRAW = np.random.default_rng(5)
TRAINING, PHOTOS = (DRAW.integers(0, 200, (count, 4, 6, 3), dtype=np.uint8) for count in (40, 20))
COPIED = quality.ImageSet(quality.GENERATED, 1, TRAINING[:20])
REFERENCE = quality.ImageSet(quality.TEST, 0, PHOTOS)


def test_copies_and_collapse_are_found() -> None:
    """The generator of seed 2 makes one image, twenty times."""
    collapsed = quality.ImageSet(quality.GENERATED, 2, np.stack([PHOTOS[0][::-1]] * 20))
    space = quality.Space("pixels", "raw pixels", flat)
    rows, nearest = quality.copy_rows([REFERENCE, COPIED, collapsed], TRAINING, space, quantile=0.1)
    found = {(row["seed"], row["measure"].removesuffix("_pixels")): row["value"] for row in rows}
    assert (found[1, "copies"], found[1, "nearest_distance"], found[1, "distinct_nearest"]) == (1, 0, 1)
    assert (found[2, "distinct_nearest"], found[2, "near_twins"]) == (1 / 20, 1)
    assert found[1, "near_twins"] < 0.5 and found[2, "pairwise_distance"] == pytest.approx(0, abs=1e-4)
    assert found[0, "copies"] == found[0, "near_twins"] == pytest.approx(0.1, abs=0.05)
    assert nearest[1].rows.tolist() == list(range(20))
    assert {tuple(row) for row in rows} == {tuple(quality.COLUMNS)}


def test_every_set_is_compared_with_the_test_photos() -> None:
    noise = quality.ImageSet(quality.NOISE, 0, np.full_like(PHOTOS, 255))
    space = quality.Space("pixels", "scaled", lambda images: flat(images) / 255)
    rows = quality.distance_rows([COPIED, REFERENCE, noise], space, neighbours=3, subsets=SUBSETS)
    found = {(row["item"], row["measure"]): row["value"] for row in rows}
    assert found[quality.NOISE, "kid_pixels"] > 10 * abs(found[quality.HALVES, "kid_pixels"])
    wanted = plain_kid(flat(COPIED.pixels) / 255, flat(PHOTOS) / 255)
    assert found[quality.GENERATED, "kid_pixels"] == pytest.approx(wanted)
    assert found[quality.NOISE, "coverage_pixels"] == found[quality.NOISE, "density_pixels"] == 0
    assert found[quality.GENERATED, "coverage_pixels"] > 0.5
    assert (quality.TEST, "kid_pixels") not in found
