"""`make export MODEL=best PROFILE=paper`: a model as one ONNX file, with a card of what it is.

`best` is what stage ladder chose and wrote; `infogan` the papers' network at the checkpoint that validation
chose, with the papers' plain vector. Both go to runs/<profile>/export/<model>.onnx and <model>.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from solesearch.core import files
from solesearch.core.errors import InputError, exit_status
from solesearch.core.paths import Paths, repository_root
from solesearch.core.settings import check_known
from solesearch.cost.embedder_file import EmbedderFile, best_file
from solesearch.photos.download import TERMS

MODELS = ("best", "infogan")
LICENCES = {
    "official": " ".join(TERMS.split()),
    "drawn": "Drawn by this project's own code, under its licence (LICENSE).",
}
OWN = "The photographs' own; know it before you give this file on."
PAGE = """\
# {model}

An embedding of catalogue photographs, made by solesearch from profile `{profile}`: near vectors look alike.

- Input: uint8 RGB [n, {height}, {width}, 3], the photo fitted by `{fit}`.
  Output: float32 [n, {dimensions}], for Euclidean distances. {megabytes:.2f} MB, post-processing inside.
- Learned from: {training_photos:,} training photos of `{profile}`, no label. Variant `{variant}`,
  method `{recipe}`, seed {seed}; `params.yaml` and notebook 10 say what that is.
- Judged once on {queries:,} test photos, {gallery_words}: {measure} {value:.3f} (95 % interval {low:.3f} to
  {high:.3f}), every class alike {macro:.3f} ({macro_low:.3f} to {macro_high:.3f}).
- Licence of the training photos: {licence}
- Use: `python -m solesearch.cost.embedder_file {name}.onnx FOLDER` writes {name}.npy and {name}.ids.txt.
"""


def described(path: Path) -> str:
    """Return the card of an exported file as Markdown."""
    model = EmbedderFile(path)
    height, width = model.catalog.image_size
    card: dict[str, Any] = {**model.card, **model.card["judged"]}
    words = {"product_excluded": "the query's own product left out", "naive": "the query alone left out"}
    return PAGE.format(
        **card,
        name=path.stem,
        height=height,
        width=width,
        fit=model.catalog.fit,
        dimensions=model.model.session.get_outputs()[0].shape[1],
        megabytes=path.stat().st_size / 1e6,
        gallery_words=words[card["gallery"]],
        licence=LICENCES.get(model.catalog.source, OWN),
    )


def export(profile: str, model: str) -> Path:
    """Write a model's file and card; raises InputError where a stage has not left what they are made of."""
    if model not in MODELS:
        raise InputError(f"MODEL={model}: there are {', '.join(MODELS)}")
    check_known([profile])
    paths = Paths.of(profile)
    target = paths.run / "export" / f"{model}.onnx"
    best = best_file(paths)
    if model == "best":
        with files.replacing(target) as temporary:
            temporary.write_bytes(best.read_bytes())
    else:
        from solesearch.beyond.ablation import Ablation  # TensorFlow, which `best` does without
        from solesearch.beyond.export import PAPERS_MODEL, write_model

        table = files.read_result(paths.result("ladder"))
        write_model(Ablation.open(profile), PAPERS_MODEL, table, target)
    files.write_text(target.with_suffix(".md"), described(target))
    return target


def main() -> int:
    """Export a model of a profile as one ONNX file with a card."""
    parser = argparse.ArgumentParser(prog="python -m solesearch.pipeline.export", description=main.__doc__)
    parser.add_argument("profile")
    parser.add_argument("model", nargs="?", default=MODELS[0], help=" or ".join(MODELS))
    given = parser.parse_args()

    def work() -> None:
        target = export(given.profile, given.model).relative_to(repository_root())
        print(f"{target} ({target.stat().st_size / 1e6:.2f} MB); card: {target.with_suffix('.md')}")

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
