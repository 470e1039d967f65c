"""The command line: `nucleigan sheet`, `segment`, `compare`, `status`, `config`, `schema`."""

import argparse
import io
import json
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path

from nucleigan import __version__
from nucleigan.errors import NucleiganError, reason
from nucleigan.jobs import explained


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a person's mistake is printed as one sentence, with status 1."""
    # A sign that the terminal does not know is no reason to stop in the middle.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except Exception as error:
        sentence = explained(error)
        if sentence is None and isinstance(error, OSError):
            sentence = f"{reason(error)}."
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nucleigan", description="Nuclei from H&E slides.")
    parser.add_argument("--version", action="version", version=f"nucleigan {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    sheet = commands.add_parser("sheet", help="write a sample sheet for a MoNuSeg download")
    sheet.add_argument("folder", type=Path, help="the unpacked download")
    sheet.add_argument("--output", type=Path, required=True, help="CSV to write")
    sheet.add_argument("--overwrite", action="store_true", help="replace one that is there already")
    sheet.set_defaults(run=_sheet)

    segment = commands.add_parser("segment", help="find the nuclei of images with a model file")
    segment.add_argument("model", type=Path, help="model.safetensors")
    segment.add_argument("images", type=Path, nargs="+", help="TIFF, SVS, PNG or JPEG")
    segment.add_argument("--output", type=Path, required=True, help="folder for the results")
    segment.add_argument("--mpp", type=float, help="µm per pixel, whatever the files say")
    segment.add_argument(
        "--max-pixels",
        type=int,
        help="largest image that is accepted, also one that is decoded as a whole, in the place "
        "of ingestion.max_pixels and max_pixels_whole",
    )
    segment.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    segment.add_argument("--threads", type=int, help="processor cores to use, instead of 2")
    segment.add_argument(
        "--overwrite", action="store_true", help="replace results that are there already"
    )
    segment.add_argument(
        "--no-shift",
        action="store_true",
        help="leave nuclei where the network sees them, also where the model moves them to where "
        "the annotations of its training slides lay",
    )
    segment.set_defaults(run=_segment)

    compare = commands.add_parser("compare", help="set the results of several runs side by side")
    compare.add_argument("results", type=Path, nargs="+", help="folders of finished runs")
    compare.add_argument("--output", type=Path, required=True, help="folder for the tables")
    compare.set_defaults(run=_compare)

    status = commands.add_parser("status", help="say what a run has done, and what failed and why")
    status.add_argument("results", type=Path, nargs="?", help="folder of the run; else `results`")
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="every job, for machines")
    form.add_argument("--watch", action="store_true", help="until the run ends; bars in a terminal")
    status.set_defaults(run=_status)

    config = commands.add_parser("config", help="print the default configuration")
    config.set_defaults(run=_config)
    schema = commands.add_parser("schema", help="print the JSON schema of the configuration")
    schema.set_defaults(run=_schema)
    return parser


def _sheet(options: argparse.Namespace) -> None:
    from nucleigan.slides import monuseg_sheet, write_sheet

    if not options.overwrite:
        _check_absent(options.output)
    slides, warnings = monuseg_sheet(options.folder)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    write_sheet(options.output, slides)
    print(f"{options.output}: {len(slides)} slides")


def _segment(options: argparse.Namespace) -> None:
    from nucleigan.artifacts import file_digest, likeness
    from nucleigan.config import IngestionSettings, validate
    from nucleigan.models.header import check_complete
    from nucleigan.segmentation import Segmenter, segment_file

    _check_names(options.images)
    given: dict[str, object] = {"device": options.device}
    compute = validate({"compute": given}, "--device").compute
    if options.threads is not None:
        given["threads"] = options.threads
        compute = validate({"compute": given}, "--threads").compute
    limits = IngestionSettings()
    if options.max_pixels is not None:
        most = dict.fromkeys(("max_pixels", "max_pixels_whole"), options.max_pixels)
        limits = validate({"ingestion": most}, "--max-pixels").ingestion
    segmenter = Segmenter.load(options.model, compute)
    check_complete(options.model, segmenter.facts)
    if options.no_shift:
        segmenter.prediction = segmenter.prediction.model_copy(update={"shift": (0.0, 0.0)})
    origin = {
        "model": file_digest(options.model),
        # As it comes back from a file.
        "shift": list(segmenter.shift),
        "mpp": options.mpp,
    }
    failed = []
    for path in options.images:
        labels, polygons = (
            options.output / f"{path.stem}{ending}" for ending in (".labels.tif", ".geojson")
        )
        several = len(options.images) > 1
        # Its lines of progress are no results.
        try:
            # A scanner calls the slides of every patient alike.
            found_in = origin | {"image": likeness(path)} if path.is_file() else origin
            if not options.overwrite and _stay(labels, polygons, found_in, several):
                print(f"{path}: its results are there already, and stay", file=sys.stderr)
                continue
            with redirect_stdout(sys.stderr):
                count = segment_file(
                    segmenter, path, labels, polygons, options.mpp, limits, found_in
                )
        # What is wrong with one image says nothing of the next.
        except Exception as error:
            if not several:
                raise
            sentence = explained(error)
            if sentence is None:
                traceback.print_exception(error)
                sentence = f"{path}: {reason(error)}."
            print(f"error: {sentence}", file=sys.stderr)
            failed.append(path)
        else:
            print(f"{path}: {count} nuclei")
    if failed:
        raise NucleiganError(
            f"{len(failed)} of {len(options.images)} images were not segmented: "
            f"{', '.join(map(str, failed))}."
        )


def _stay(labels: Path, polygons: Path, origin: dict[str, object], several: bool) -> bool:
    """Whether both outputs are there, as where a call for several images was killed before its end.

    Raises where one is there that this call does not make.
    """
    from nucleigan.segmentation.export import read_origin
    from nucleigan.segmentation.stage import workspace

    found_by = read_origin(polygons) if polygons.exists() else None
    same = found_by is not None and _agree(found_by, origin)
    if labels.exists() and polygons.exists() and several:
        # Somebody may have saved it from QuPath, which forgets what it was found by.
        if found_by is None or same:
            return True
        raise NucleiganError(
            f"{labels}: is there already, and {polygons} says that it was found in another image, "
            "by another model, or with other options; choose another --output, or replace it by "
            "--overwrite."
        )
    # The polygons come first: a call that is killed between both leaves them, and its workspace.
    if labels.exists() or not same or not workspace(labels).exists():
        _check_absent(labels, polygons)
    return False


def _agree(found_by: dict[str, object], origin: dict[str, object]) -> bool:
    """Whether both say the same where both say anything: of an image that is gone nobody can."""
    shared = found_by.keys() & origin.keys()
    return "model" in shared and all(found_by[key] == origin[key] for key in shared)


def _check_absent(*outputs: Path) -> None:
    """Raise where there is an output: somebody may have drawn or corrected it."""
    there = [path for path in outputs if path.exists()]
    if there:
        raise NucleiganError(
            f"{there[0]}: is there already; choose another --output, or replace it by --overwrite."
        )


def _check_names(images: Sequence[Path]) -> None:
    """Results are named after the images alone: two of one name would share them."""
    named: dict[str, Path] = {}
    for path in images:
        first = named.setdefault(path.stem, path)
        if first is not path:
            raise NucleiganError(
                f"{path}: its results would have the same names as those of {first}; give each "
                "image once, and segment those of one name into different folders."
            )


def _compare(options: argparse.Namespace) -> None:
    from nucleigan.evaluation import compare_experiments

    compare_experiments(options.results, options.output)
    print((options.output / "table.md").read_text(encoding="utf-8"))


def _status(options: argparse.Namespace) -> None:
    from nucleigan.config import Config
    from nucleigan.status import as_json, as_text, read_status
    from nucleigan.watch import watch

    folder = options.results or Path(Config.model_fields["results"].default)
    if options.watch:
        # Ctrl-C ends the look, not the run.
        with suppress(KeyboardInterrupt):
            watch(folder)
        return
    jobs = read_status(folder)
    print(as_json(folder, jobs) if options.json else as_text(folder, jobs))


def _config(_: argparse.Namespace) -> None:
    from nucleigan.defaults import default_yaml

    print(default_yaml(), end="")


def _schema(_: argparse.Namespace) -> None:
    from nucleigan.config import Config

    print(json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    sys.exit(main())
