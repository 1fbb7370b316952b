"""`make export`: the file copied out, its card, and what is refused."""

import pytest
from small_world import write_embedder_file

from solesearch.core.errors import InputError
from solesearch.core.paths import Paths
from solesearch.pipeline.export import described, export

CARD = {
    "variant": "dictionary", "recipe": "code_root_half_whitened", "seed": 1, "profile": "smoke",
    "training_photos": 1234, "judged": {
        "measure": "precision@5", "gallery": "product_excluded", "queries": 56, "value": 0.5, "low": 0.4,
        "high": 0.6, "macro": 0.3, "macro_low": 0.2, "macro_high": 0.4,
    },
}  # fmt: skip


def test_the_best_model_is_copied_out_with_its_card(workspace) -> None:
    paths = Paths.of("smoke")
    with pytest.raises(InputError, match=r"best.onnx: not there yet; stage ladder writes it"):
        export("smoke", "best")
    written = write_embedder_file(paths.ladder / "best.onnx", card=CARD)
    target = export("smoke", "best")
    assert target == paths.run / "export" / "best.onnx" and target.read_bytes() == written.read_bytes()
    card = target.with_suffix(".md").read_text()
    for words in (
        "# mean colour", "uint8 RGB [n, 64, 96, 3]", "float32 [n, 3]", "1,234 training photos of `smoke`",
        "56 test photos, the query's own product left out: precision@5 0.500 (95 % interval 0.400 to",
        "every class alike 0.300", "Drawn by this project's own code",
    ):  # fmt: skip
        assert words in card
    for source, words in (
        ("official", "non-commercial research use"),
        ("folders", "know it before you give"),
    ):
        label_map = "papers" if source == "official" else "none"
        write_embedder_file(target, card=CARD, source=source, label_map=label_map)
        assert words in described(target)


def test_other_models_and_profiles_are_refused(workspace) -> None:
    with pytest.raises(InputError, match="MODEL=hog: there are best, infogan"):
        export("smoke", "hog")
    with pytest.raises(InputError, match="no section for profile 'smok'"):
        export("smok", "best")
