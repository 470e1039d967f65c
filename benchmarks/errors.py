"""What became of every nucleus of a run's judged slides: a row a slide, the worst first.

    python benchmarks/errors.py results/kumar-long

reads the label maps and predictions that a run has left, and writes a Markdown table. With
``--overlays FOLDER`` it also draws the slides, every nucleus in the colour of what became of it.
"""

import argparse
from pathlib import Path

from PIL import Image

from nucleigan.artifacts import atomic, read_table, read_tiff
from nucleigan.figures.errors import draw_errors
from nucleigan.metrics import aggregated_jaccard
from nucleigan.metrics.errors import CLASSES


def main() -> None:
    """Measure, draw and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder of a finished run")
    parser.add_argument("--model", default="cgan/both/0", help="method/training set/seed")
    parser.add_argument("--overlays", type=Path, help="folder for pictures")
    options = parser.parse_args()
    table = options.results / "evaluation/slides.csv"
    judged = read_table(table, keep_default_na=False, dtype={"slide": str, "organ": str})
    organs = dict(zip(judged["slide"], judged["organ"], strict=True))
    rows = []
    for path in sorted((options.results / "predictions" / options.model).glob("*.labels.tif")):
        slide = path.name.removesuffix(".labels.tif")
        known = options.results / "slides" / slide / "labels.tif"
        if not known.is_file():
            continue
        truth, found = read_tiff(known), read_tiff(path)
        image = read_tiff(options.results / "stain" / slide / "image.tif")
        drawn, errors = draw_errors(image, truth, found)
        counts = errors.counts()
        rows.append((aggregated_jaccard(truth, found), slide, organs[slide], counts))
        if options.overlays:
            with atomic(options.overlays / f"{slide}.png") as temporary:
                Image.fromarray(drawn).save(temporary)
    print("| slide | organ | AJI |", " | ".join(CLASSES), "|")
    print("|---|---|---:|" + "---:|" * len(CLASSES))
    for aji, slide, organ, counts in sorted(rows):
        numbers = " | ".join(str(counts[name]) for name in CLASSES)
        print(f"| {slide} | {organ} | {aji:.3f} | {numbers} |")


if __name__ == "__main__":
    main()
