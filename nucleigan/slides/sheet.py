"""The sample sheet: one row a slide, checked before anything runs."""

import csv
import difflib
import io
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from nucleigan.config import IngestionSettings
from nucleigan.errors import NucleiganError, shown
from nucleigan.organs import organ_name
from nucleigan.slides import annotations, endings
from nucleigan.slides.endings import check_ending
from nucleigan.slides.limits import read_text
from nucleigan.slides.remote import check_address, check_apart, is_address

SPLITS = ("train", "val", "test")
COLUMNS = (
    "slide",
    "organ",
    "split",
    "image",
    "annotation",
    "mpp",
    "sha256",
    "annotation_sha256",
    "patient",
)
REQUIRED = ("slide", "organ", "split", "image")
# By which no other pixels are read.
HASHES = ("sha256", "annotation_sha256")
NOT_READ = ("organ", "split", "patient", *HASHES)
# Names that sheets made by others use for our columns.
ALIASES = {
    "annotation": "labels",
    "sha256": "image_sha256",
    "annotation_sha256": "labels_sha256",
}
# Slide names become folder names and wildcards.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Under these names, and with this ending, stages leave files and logs of their own beside the
# folders and logs of slides.
TAKEN_ENDING = ".profile"
TAKEN = {
    "contact_sheet",
    "contact_sheet.png",
    "reference",
    "reference.json",
    "vectors",
    "vectors.csv",
    "vectors.png",
}
HASH = re.compile(r"[0-9a-f]{64}")
# Organs become headings of tables, reports and figures, which have signs of their own.
ORGAN = re.compile(r"\w[^<>|$`\\]{0,63}")
# The row of all organs in tables, as nucleigan.evaluation names it.
ALL_ORGANS = "overall"
# What every file system takes, bytes of a path and of its parts.
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
BRACES = re.compile(r"[{}]")
LONGEST_PATIENT = 64
LONGEST_PATH, LONGEST_PART = 2000, 255
# Similarity of a column's name to one of ours, by which it may be that one, misspelt.
ALIKE = 0.75
PLAUSIBLE_MPP = (0.05, 10.0)
# Sheet and file may differ by rounding; beyond this they contradict each other.
MPP_TOLERANCE = 0.05
# Enlarging beyond this invents detail, as from 20× to 40×.
ENLARGED = 1.2


@dataclass(frozen=True)
class Slide:
    """One row of the sample sheet.

    Attributes
    ----------
    slide
        Name, unique in the sheet; letters, digits, ``.``, ``_`` and ``-``.
    organ
        Results are grouped by it; begins with a letter or digit, at most 64 characters, without
        ``<>|$``, backquotes and backslashes.
    split
        ``train``, ``val`` or ``test``.
    image
        Path of the image.
    annotation
        Path of the annotation, None for training slides whose images alone teach and for those
        that only get predictions.
    mpp
        µm per pixel, None to take it from the image file.
    sha256
        Of the image file, None to accept any content.
    annotation_sha256
        Of the annotation's file, likewise.
    image_address, annotation_address
        Where they are fetched from, None where they are files; ``image`` and ``annotation`` then
        are the names that the fetched files have.
    patient
        Whom the slide is of, None where nobody says.
    """

    slide: str
    organ: str
    split: str
    image: Path
    annotation: Path | None = None
    mpp: float | None = None
    sha256: str | None = None
    annotation_sha256: str | None = None
    image_address: str | None = None
    annotation_address: str | None = None
    patient: str | None = None


def slide_from_row(row: Mapping[str, str | None]) -> Slide:
    """A slide from its values as text, for example from another process.

    Organ and split may lack where they do not matter.
    """
    annotation, mpp = row.get("annotation"), row.get("mpp")
    return Slide(
        slide=str(row["slide"]),
        organ=row.get("organ") or "",
        split=row.get("split") or "",
        image=Path(str(row["image"])),
        annotation=Path(annotation) if annotation else None,
        mpp=float(mpp) if mpp else None,
        sha256=row.get("sha256") or None,
        annotation_sha256=row.get("annotation_sha256") or None,
    )


def read_sheet(
    path: str | Path,
    max_bytes: int = IngestionSettings().max_text_bytes,
    used: Collection[str] = SPLITS,
) -> list[Slide]:
    """Read and check a sample sheet.

    Parameters
    ----------
    path
        CSV with the columns slide, organ, split, image and, where known, annotation, mpp, sha256,
        annotation_sha256 and patient. Paths are relative to the sheet; they may lead anywhere,
        through symbolic links, too, since they are only read. Images and annotations may also be
        addresses, http://, https:// or s3://.
    max_bytes
        Larger sheets are refused.
    used
        Splits whose files will be read; those of others may have any format.

    Raises
    ------
    NucleiganError
        Names the sheet, the line, the column, what was found and what was expected.
    """
    path = Path(path)
    if not path.is_file():
        raise NucleiganError(f"{path}: there is no such sample sheet; check `slides`.")
    try:
        text = read_text(path, max_bytes)
    except UnicodeDecodeError as error:
        raise NucleiganError(
            f"{path}: is no UTF-8 text ({error.reason}); save it as CSV in UTF-8."
        ) from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        return _slides(reader, path, used)
    except csv.Error as error:
        raise NucleiganError(
            f"{path}, after line {reader.line_num}: is no CSV ({shown(str(error))}); close its "
            "quotes and separate values by commas."
        ) from error


def stated_hashes(path: str | Path, slide: str) -> dict[str, str | None]:
    """The hashes that a sheet states of a slide's files; drawn slides have no sheet.

    Parameters
    ----------
    path
        The sheet, or ``phantoms``.
    slide
        Its name.

    Returns
    -------
    ``sha256`` and ``annotation_sha256``.
    """
    hashes: dict[str, str | None] = dict.fromkeys(HASHES)
    if path == "phantoms":
        return hashes
    with Path(path).open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        columns = _columns(Path(path), reader.fieldnames or [])
        for row in reader:
            if (row[columns["slide"]] or "").strip() == slide:
                values = _values(row, columns)
                return {name: _hash(name, values, str(path)) for name in HASHES}
    raise NucleiganError(
        f"{path}: the slide {slide!r} is not in it any more; run the same command again."
    )


def check_kept(slides: Iterable[Slide], folder: Path) -> None:
    """Refuse slides that were read and whose files are away: they would be taken for changed.

    What was made of them would be removed, to be made anew.

    Parameters
    ----------
    slides
        Those of the sheet.
    folder
        Of what was read: ``{slide}/slide.json`` and ``{slide}/labels.tif``.

    Raises
    ------
    NucleiganError
        Names the first such slide, and the file.
    """
    for slide in slides:
        for path, address, made in (
            (slide.image, slide.image_address, "slide.json"),
            (slide.annotation, slide.annotation_address, "labels.tif"),
        ):
            read = folder / slide.slide / made
            known = path is None or address is not None or os.path.exists(path)
            if known or not os.path.exists(read):
                continue
            raise NucleiganError(
                f"slide {slide.slide}: {shown(str(path))} is not there, though it was read before; "
                "mount its disk or bring it back, take the slide out of the sheet, or delete "
                f"{read} if the file is to be missing."
            )


def check_read(slides: Iterable[Slide], folder: Path) -> None:
    """Refuse hashes that slides do not have which were read already.

    Parameters
    ----------
    slides
        Those of the sheet.
    folder
        Of what was read: ``{slide}/slide.json``.

    Raises
    ------
    NucleiganError
        Names the slide, the hash that was found and the expected one.
    """
    from nucleigan.artifacts import file_digest, read_json

    for slide in slides:
        facts = folder / slide.slide / "slide.json"
        if not (slide.sha256 or slide.annotation_sha256) or not facts.exists():
            continue
        read = read_json(facts)
        for name, source, path, address in (
            ("sha256", "source", slide.image, slide.image_address),
            ("annotation_sha256", "annotation", slide.annotation, slide.annotation_address),
        ):
            expected, found = getattr(slide, name), read.get(name)
            if path is None or expected is None or found in (None, expected):
                continue
            # Another file, or one that has changed since, will be read, and looked at then.
            changed = (
                address is None
                and os.path.exists(path)
                and path.stat().st_mtime > facts.stat().st_mtime
                and file_digest(path) != found
            )
            if changed or read.get(source) != path.name:
                continue
            raise NucleiganError(
                f"slide {slide.slide}: the {read[source]} that was read has the SHA-256 {found}, "
                f"but the sample sheet expects {expected}; correct the sheet, or, once "
                f"{address or path} is the file that it means, delete {facts}."
            )


def hold_out(slides: Sequence[Slide], names: Sequence[str]) -> list[Slide]:
    """Move training slides to the split ``val``.

    Raises
    ------
    NucleiganError
        A name is no annotated training slide, or none would be left.
    """
    train = {slide.slide for slide in slides if slide.split == "train"}
    wrong = [name for name in names if name not in train]
    if wrong:
        raise NucleiganError(
            f"validation names {wrong[0]!r}, which is no training slide of the sheet; name slides "
            "whose split is train."
        )
    annotated = {slide.slide for slide in slides if slide.slide in train and slide.annotation}
    if bare := [name for name in names if name not in annotated]:
        raise NucleiganError(
            f"validation names {bare[0]!r}, which has no annotation; name slides that have one."
        )
    if annotated and annotated <= set(names):
        raise NucleiganError(
            "validation names every annotated training slide of the sheet; leave some to train on."
        )
    return [replace(slide, split="val") if slide.slide in set(names) else slide for slide in slides]


def teachers(slides: Sequence[Slide], names: Sequence[str]) -> list[str]:
    """The training slides whose annotations are used: those named, or all that have one.

    Raises
    ------
    NucleiganError
        A name is no annotated training slide, or there is none.
    """
    found = [slide.slide for slide in slides if slide.split == "train" and slide.annotation]
    if not found:
        raise NucleiganError(
            "no slide of the sample sheet with split 'train' has an `annotation`; the workflow "
            "needs at least one, whose nuclei teach the segmenter."
        )
    if wrong := [name for name in names if name not in found]:
        raise NucleiganError(
            f"annotated names {wrong[0]!r}, which is no annotated training slide, or held out by "
            f"validation; name some of {', '.join(found[:5])}{', …' if len(found) > 5 else ''}."
        )
    return [name for name in found if not names or name in names]


def check_training_sets(setting: str, data: Sequence[str], teaching: int) -> None:
    """Refuse a training set of more real slides than there are.

    Parameters
    ----------
    setting
        That names them.
    data
        Training sets, such as ``both`` and ``real-4``.
    teaching
        How many training slides' annotations are used.

    Raises
    ------
    NucleiganError
        One asks for more.
    """
    for name in data:
        if int(name.partition("-")[2] or 0) > teaching:
            raise NucleiganError(
                f"{setting} names {name}, but the annotations of {teaching} training slides are "
                "used; name fewer."
            )


def check_slides(
    slides: Sequence[Slide],
    reference: str = "auto",
    needed: Sequence[str] = ("train", "test"),
    judging: Sequence[str] = ("test",),
) -> list[str]:
    """Check slides against each other; returns warnings.

    Parameters
    ----------
    slides
        All slides of a run.
    reference
        Name of the stain reference, or ``auto``.
    needed
        Splits that must have a slide.
    judging
        Splits whose slides the table is of.
    """
    splits = Counter(slide.split for slide in slides)
    for split in needed:
        if not splits[split]:
            raise NucleiganError(
                f"the sample sheet has no slide with split {split!r}; the workflow "
                "needs at least one."
            )
    names = [slide.slide for slide in slides]
    if reference != "auto" and reference not in names:
        raise NucleiganError(
            f"stain.reference is {reference!r}, which is no slide of the sheet; use auto or one of "
            f"{', '.join(names[:5])}{', …' if len(names) > 5 else ''}."
        )
    judged = {
        organ_name(slide.organ) for slide in slides if slide.split in judging and slide.annotation
    }
    learned = {organ_name(slide.organ) for slide in slides if slide.split == "train"}
    unchecked = [
        slide.slide
        for slide in slides
        if (slide.image_address and not slide.sha256)
        or (slide.annotation_address and not slide.annotation_sha256)
    ]
    warnings = [
        f"slides are fetched without `sha256` or `annotation_sha256` ({', '.join(unchecked[:5])}"
        f"{', …' if len(unchecked) > 5 else ''}); whatever their server sends is taken"
    ] * bool(unchecked)
    return warnings + [
        f"the organ {organ!r} has training slides but no annotated slide of the split "
        f"{' or '.join(judging)}; it will be missing from the table"
        for organ in sorted(learned - judged)
    ]


def check_twins(slides: Iterable[Slide]) -> None:
    """Refuse an image or a patient in two splits: who has learned from it is not judged by it."""
    slides = list(slides)
    seen: dict[str, Slide] = {}
    of_patients: dict[str, Slide] = {}
    for slide in slides:
        place = slide.image_address or os.path.realpath(slide.image)
        for mark in (place, slide.sha256):
            first = seen.setdefault(mark, slide) if mark else slide
            if first.split != slide.split:
                raise _same_image(first, slide)
        if slide.patient is None:
            continue
        first = of_patients.setdefault(slide.patient, slide)
        if first.split != slide.split:
            raise NucleiganError(
                f"the slides {first.slide!r} ({first.split}) and {slide.slide!r} ({slide.split}) "
                f"are of the same `patient`, {slide.patient!r}; leave all of a patient in one "
                "split, for slides of one patient are more alike than others."
            )
    _check_copies(slides)


def _same_image(first: Slide, second: Slide) -> NucleiganError:
    return NucleiganError(
        f"the slides {first.slide!r} ({first.split}) and {second.slide!r} ({second.split}) have "
        "the same image; leave it in one split, for a result on what was learned says nothing."
    )


def _check_copies(slides: Iterable[Slide]) -> None:
    """Raise where files of other names, in different splits, hold the same bytes."""
    from nucleigan.artifacts import file_digest, likeness

    groups = [[slide for slide in slides if slide.image_address is None]]
    # Each is asked of those alone that the one before leaves alike.
    for told_by in (os.path.getsize, likeness, file_digest):
        finer = []
        for group in groups:
            parts: dict[int | str, list[Slide]] = {}
            for slide in group:
                # One that cannot be read, or is empty, is named by whoever reads it.
                with suppress(OSError):
                    if mark := told_by(slide.image):
                        parts.setdefault(mark, []).append(slide)
            finer += [part for part in parts.values() if len({one.split for one in part}) > 1]
        groups = finer
    for first, *others in groups:
        raise _same_image(first, next(one for one in others if one.split != first.split))


def absent(slides: Iterable[Slide]) -> list[str]:
    """A warning that names files of the sheet that do not exist, if there are any."""
    files = [
        (slide.slide, path)
        for slide in slides
        for path, address in (
            (slide.image, slide.image_address),
            (slide.annotation, slide.annotation_address),
        )
        if path is not None and address is None
    ]
    # Unlike Path.exists, which raises where a folder may not be looked into.
    lost = [(slide, path) for slide, path in files if not os.path.exists(path)]
    if not lost:
        return []
    slide, path = lost[0]
    return [
        f"{len(lost)} of the {len(files)} files that the sample sheet names do not exist, the "
        f"first of slide {slide}, {shown(str(path))}; their slides will fail"
    ]


def write_sheet(path: str | Path, slides: Iterable[Slide]) -> None:
    """Write a sample sheet; paths become relative to it where they can."""
    from nucleigan.artifacts import atomic

    path = Path(path)
    folder = Path(os.path.abspath(path)).parent
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for slide in slides:
            writer.writerow(
                [
                    slide.slide,
                    slide.organ,
                    slide.split,
                    slide.image_address or _relative(slide.image, folder),
                    slide.annotation_address
                    or (_relative(slide.annotation, folder) if slide.annotation else ""),
                    "" if slide.mpp is None else slide.mpp,
                    slide.sha256 or "",
                    slide.annotation_sha256 or "",
                    slide.patient or "",
                ]
            )


def _relative(path: Path, folder: Path) -> str:
    # Not resolved: a link's name and ending are the user's choice, its target's need not be.
    path = Path(os.path.abspath(path))
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _slides(reader: csv.DictReader, path: Path, used: Collection[str]) -> list[Slide]:
    columns = _columns(path, reader.fieldnames or [])
    slides: list[Slide] = []
    lines: dict[str, int] = {}
    for row in reader:
        line = reader.line_num
        if None in row:
            raise NucleiganError(
                f"{path}, line {line}: has more values than the header has columns; put values "
                "with commas into quotes."
            )
        # What spreadsheets leave of rows that were cleared.
        if not any((value or "").strip() for value in row.values()):
            continue
        values = _values(row, columns)
        slide = _slide(values, path, line)
        if slide.split in used:
            _check_files(slide, values, f"{path}, line {line}")
        if slide.slide in lines:
            raise NucleiganError(
                f"{path}, line {line}: the `slide` {slide.slide!r} stands in line "
                f"{lines[slide.slide]} already; give every slide a name of its own."
            )
        lines[slide.slide] = line
        slides.append(slide)
    if not slides:
        raise NucleiganError(f"{path}: holds no slides; add a row for each.")
    addresses = [(slide.image_address, slide.annotation_address) for slide in slides]
    check_apart((one for pair in addresses for one in pair if one), str(path))
    return slides


def _columns(path: Path, found: Sequence[str]) -> dict[str, str]:
    """Our column names with those of the file."""
    names = Counter(name.strip() for name in found if name)
    for name, times in names.items():
        if times > 1:
            raise NucleiganError(
                f"{path}: the column `{shown(name)}` stands there {times} times; keep one."
            )
    stripped = {name.strip(): name for name in found if name}
    columns = {}
    for name in COLUMNS:
        for candidate in (name, ALIASES.get(name)):
            if candidate in stripped:
                columns[name] = stripped[candidate]
                break
        else:
            if name in REQUIRED:
                raise NucleiganError(
                    f"{path}: the column `{name}` is missing; found "
                    f"{shown(', '.join(stripped)) or 'none'}, expected {', '.join(COLUMNS)}, "
                    "separated by commas."
                )
    # Other columns are the user's own, but a misspelt one would switch off what it is for.
    own = set(stripped) - set(columns) - set(ALIASES.values())
    for name in sorted(own):
        for meant in difflib.get_close_matches(name.lower(), COLUMNS, 1, ALIKE):
            if meant not in columns:
                raise NucleiganError(
                    f"{path}: the column `{shown(name)}` is unknown; did you mean `{meant}`? Else "
                    "give it a name that is less like it."
                )
    return columns


def _values(row: Mapping[str, str | None], columns: Mapping[str, str]) -> dict[str, str]:
    """A row by our names of the columns."""
    return {name: (row.get(column) or "").strip() for name, column in columns.items()}


def _slide(values: Mapping[str, str], path: Path, line: int) -> Slide:
    where = f"{path}, line {line}"
    for name in REQUIRED:
        if not values[name]:
            raise NucleiganError(f"{where}: `{name}` is empty; fill it in.")
    if not NAME.fullmatch(values["slide"]):
        raise NucleiganError(
            f"{where}: `slide` is {shown(values['slide'])!r}; use letters, digits, '.', '_' and "
            "'-', not beginning with a sign, since it names files."
        )
    if values["slide"] in TAKEN or values["slide"].endswith(TAKEN_ENDING):
        raise NucleiganError(
            f"{where}: `slide` is {values['slide']!r}, which the workflow calls files of its own; "
            "choose another name."
        )
    if values["organ"].lower() == ALL_ORGANS:
        raise NucleiganError(
            f"{where}: `organ` is {values['organ']!r}, which tables call the mean of all; choose "
            "another name."
        )
    if not ORGAN.fullmatch(values["organ"]) or CONTROL.search(values["organ"]):
        raise NucleiganError(
            f"{where}: `organ` is {shown(values['organ'])!r}; use at most 64 characters that begin "
            "with a letter or digit, without <>|$, backquotes and backslashes."
        )
    if values["split"] not in SPLITS:
        raise NucleiganError(
            f"{where}: `split` is {shown(values['split'])!r}; expected {', '.join(SPLITS)}."
        )
    annotation = values.get("annotation", "")
    for name in ("image", "annotation"):
        _check_path(values.get(name, ""), f"{where}: `{name}`")
        if is_address(values.get(name, "")):
            check_address(values[name], f"{where}: `{name}`")
    if not annotation and values["split"] == "val":
        raise NucleiganError(
            f"{where}: a slide with split 'val' needs an `annotation`, which thresholds are chosen "
            "by; add it, or set the split to train or test."
        )
    return Slide(
        slide=values["slide"],
        organ=values["organ"],
        split=values["split"],
        image=_place(values["image"], path, where),
        annotation=_place(annotation, path, where) if annotation else None,
        mpp=_mpp(values.get("mpp", ""), where),
        sha256=_hash("sha256", values, where),
        annotation_sha256=_hash("annotation_sha256", values, where),
        image_address=values["image"] if is_address(values["image"]) else None,
        annotation_address=annotation if is_address(annotation) else None,
        patient=_patient(values.get("patient", ""), where),
    )


def _check_files(slide: Slide, values: Mapping[str, str], where: str) -> None:
    """Refuse what nobody could read, before anything runs."""
    check_ending(slide.image, endings.IMAGES, f"{where}: `image` is {shown(values['image'])!r}")
    if slide.annotation is not None:
        known = annotations.OUTLINES | annotations.LABEL_MAPS
        what = f"{where}: `annotation` is {shown(values['annotation'])!r}"
        check_ending(slide.annotation, known, what)
    if slide.mpp is None and endings.ending(slide.image) in endings.PILLOW:
        raise NucleiganError(
            f"{where}: `mpp` is empty, and {shown(slide.image.name)} cannot say how many µm a "
            "pixel has; fill it in."
        )


def _place(text: str, sheet: Path, where: str) -> Path:
    """The file that an entry names; of an address the name alone."""
    if is_address(text):
        return Path(unquote(PurePosixPath(urlsplit(text).path).name))
    if not text.startswith("~/"):
        return sheet.parent / text
    # As a shell does it, which spreadsheets have none of.
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise NucleiganError(
            f"{where}: {shown(text)!r} begins with ~, but nobody knows which folder that is here; "
            "write it out."
        ) from error


def _check_path(text: str, what: str) -> None:
    """Refuse what the system would answer with other errors than that there is no such file."""
    length = len(text.encode())
    longest = max(len(part.encode()) for part in text.split("/"))
    # Snakemake takes what stands in braces as a wildcard.
    if (
        CONTROL.search(text)
        or BRACES.search(text)
        or length > LONGEST_PATH
        or longest > LONGEST_PART
    ):
        raise NucleiganError(
            f"{what} is {shown(text)!r}; expected a path without braces and control characters, "
            f"of at most {LONGEST_PATH} bytes, {LONGEST_PART} in each part."
        )


def _hash(column: str, values: Mapping[str, str], where: str) -> str | None:
    text = values.get(column, "").lower()
    if text and not HASH.fullmatch(text):
        raise NucleiganError(
            f"{where}: `{column}` is {shown(text)!r}; expected 64 hexadecimal digits or nothing."
        )
    return text or None


def _patient(text: str, where: str) -> str | None:
    if len(text) > LONGEST_PATIENT or CONTROL.search(text):
        raise NucleiganError(
            f"{where}: `patient` is {shown(text)!r}; use at most {LONGEST_PATIENT} characters, or "
            "nothing."
        )
    return text or None


def check_mpp(mpp: float, where: str) -> None:
    """Raise where no microscope has that many µm a pixel."""
    low, high = PLAUSIBLE_MPP
    if not low <= mpp <= high:
        raise NucleiganError(f"{where}: mpp is {mpp:g}; expected {low} to {high} µm per pixel.")


def magnification_doubts(
    image: str | Path, stated: float | None, mpp: float, working: float, source: str
) -> list[str]:
    """Sentences about a magnification that may be wrong, or is too low.

    Parameters
    ----------
    image
        For the sentences.
    stated, mpp, working
        µm per pixel: what the file says, what is taken for true, and what it is brought to.
    source
        Who says what is taken for true.
    """
    doubts = []
    if stated is not None and abs(stated / mpp - 1) > MPP_TOLERANCE:
        doubts.append(
            f"{image} states {stated:.4g} µm per pixel, {source} {mpp:.4g}, which is followed"
        )
    if mpp / working > ENLARGED:
        doubts.append(
            f"{image} has {mpp:.4g} µm per pixel and is enlarged to {working:.4g}; detail that "
            "was not scanned stays missing"
        )
    return doubts


def _mpp(text: str, where: str) -> float | None:
    if not text:
        return None
    low, high = PLAUSIBLE_MPP
    try:
        mpp = float(text)
    except ValueError:
        mpp = float("nan")
    if not low <= mpp <= high:
        raise NucleiganError(
            f"{where}: `mpp` is {shown(text)!r}; expected µm per pixel from {low} to {high}, or "
            "nothing."
        )
    return mpp
