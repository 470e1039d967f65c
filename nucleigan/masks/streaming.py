"""Masks of slides that do not fit into memory, decoded in bands of rows to the same nuclei.

A connected region of nuclei is decoded when its last row is there, so that none is cut. What stays
in memory are the rows that unfinished regions reach back to, and half as many again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nucleigan.config import DecodingSettings
from nucleigan.masks.decoding import (
    BLUR_REACH,
    EIGHT,
    blurred,
    fill_holes,
    keep_large,
    seed_pixels,
    split,
)

# Regions are decoded together until they cover this many pixels.
TOGETHER = 4_000_000
# Rows are looked at once they are this part of those that are kept: a region that goes on and on
# would otherwise be looked at from its beginning with every band.
PATIENCE = 0.5


@dataclass
class Nucleus:
    """One nucleus of a slide.

    Attributes
    ----------
    top, left
        Where its box begins, pixels.
    mask
        (h, w) bool, in its box.
    number
        Its id in the label map; 0 until it has one.
    """

    top: int
    left: int
    mask: np.ndarray
    number: int = 0

    @property
    def bottom(self) -> int:
        """The row after its last."""
        return self.top + self.mask.shape[0]

    @property
    def first(self) -> tuple[int, int]:
        """Row and column of its first pixel in reading order."""
        return self.top, self.left + int(self.mask[0].argmax())


@dataclass
class _Rows:
    """Rows of a slide, (h, W) each: what :func:`nucleigan.masks.decoding.split` divides."""

    foreground: np.ndarray
    seeds: np.ndarray
    sure: np.ndarray
    inside: np.ndarray

    @staticmethod
    def joined(bands: list["_Rows"]) -> "_Rows":
        """Several, from top to bottom."""
        return _Rows(*map(np.concatenate, zip(*(band._parts() for band in bands), strict=True)))

    def __len__(self) -> int:
        return len(self.foreground)

    def __getitem__(self, part: tuple[slice, slice] | slice) -> "_Rows":
        return _Rows(*(array[part] for array in self._parts()))

    def within(self, mask: np.ndarray) -> "_Rows":
        return _Rows(self.foreground & mask, self.seeds & mask, self.sure, self.inside)

    def _parts(self) -> tuple[np.ndarray, ...]:
        return self.foreground, self.seeds, self.sure, self.inside


def nuclei_of(labels: np.ndarray) -> list[Nucleus]:
    """The nuclei of a label map (H, W), by their ids."""
    return [
        Nucleus(box[0].start, box[1].start, labels[box] == number, number)
        for number, box in enumerate(ndimage.find_objects(labels), 1)
        if box is not None
    ]


def decode_bands(
    masks: Iterable[np.ndarray], decoding: DecodingSettings
) -> Iterator[tuple[np.ndarray, list[Nucleus]]]:
    """Find the nuclei in a mask of the encoding ``interior_boundary``, band by band.

    Parameters
    ----------
    masks
        The mask image from top to bottom, (2, h, W) float in [-1, 1] each.
    decoding
        Thresholds on probabilities, and areas in pixels.

    Yields
    ------
    Rows of the label map that :func:`nucleigan.masks.decode` finds in the whole, (h, W) int32, and
    the nuclei that begin in them, in the order of their ids.
    """
    rows: _Rows | None = None
    first = count = 0
    # Nuclei that are known, of rows that are not yet given away; and those that have an id, too.
    waiting: list[Nucleus] = []
    drawn: list[Nucleus] = []
    coming: list[_Rows] = []
    for new, last in _prepared(masks, decoding):
        coming.append(new)
        if rows is not None and not last and sum(map(len, coming)) < PATIENCE * len(rows):
            continue
        rows = _Rows.joined(coming if rows is None else [rows, *coming])
        coming = []
        regions = ndimage.label(rows.foreground, EIGHT)[0]
        boxes = ndimage.find_objects(regions)
        unfinished = np.zeros(len(boxes) + 1, bool)
        if not last:
            unfinished[regions[-1]] = True
            unfinished[0] = False
        found = _nuclei(rows, regions, boxes, unfinished, decoding, first)
        waiting += found
        _fill(found, waiting)
        height, width = regions.shape
        tops = [boxes[number - 1][0].start for number in np.flatnonzero(unfinished)]
        kept = min(tops, default=height)
        # No nucleus that is still to come has a pixel above this row.
        safe = first + kept
        ready = sorted((one for one in waiting if one.top < safe), key=lambda one: one.first)
        waiting = [one for one in waiting if one.top >= safe]
        for one in ready:
            count += 1
            one.number = count
        drawn += ready
        if safe > first:
            yield _draw(drawn, first, safe, width), ready
        drawn = [one for one in drawn if one.bottom > safe]
        rows = rows[kept:].within(unfinished[regions[kept:]])
        first = safe


def _prepared(
    masks: Iterable[np.ndarray], decoding: DecodingSettings
) -> Iterator[tuple[_Rows, bool]]:
    """Rows whose blur depends on no row to come, and whether they are the last."""
    nucleus = core = None
    # Rows that were given away, and are here for the blur of the next.
    above = 0
    for band, last in _with_end(masks):
        whole, interior = (band.astype(np.float32) + 1) / 2
        nucleus = whole if nucleus is None else np.concatenate([nucleus, whole])
        core = interior if core is None else np.concatenate([core, interior])
        end = len(core) if last else max(above, len(core) - BLUR_REACH)
        if end > above:
            part = slice(above, end)
            foreground, sure = nucleus[part] > decoding.foreground, nucleus[part] >= decoding.peak
            seeds = seed_pixels(core[part], foreground, decoding)
            yield _Rows(foreground, seeds, sure, blurred(core)[part]), last
        keep = max(0, end - BLUR_REACH)
        nucleus, core, above = nucleus[keep:], core[keep:], end - keep


def _with_end(masks: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, bool]]:
    """Each band, and whether it is the last."""
    before = None
    for band in masks:
        if before is not None:
            yield before, False
        before = band
    if before is not None:
        yield before, True


def _nuclei(
    rows: _Rows,
    regions: np.ndarray,
    boxes: list[tuple[slice, slice]],
    unfinished: np.ndarray,
    decoding: DecodingSettings,
    first: int,
) -> list[Nucleus]:
    """Decode the finished regions; ``first`` is the number of the first row."""
    found = []
    for number, (box, members) in enumerate(_groups(boxes, unfinished), 1):
        group = np.zeros(len(unfinished), np.int32)
        group[members] = number
        part = rows[box].within(group[regions[box]] == number)
        labels = split(part.foreground, part.seeds, part.sure, part.inside, decoding)
        for one in nuclei_of(keep_large(labels, decoding.min_area)):
            top, left = first + box[0].start + one.top, box[1].start + one.left
            found.append(Nucleus(top, left, one.mask))
    return found


def _groups(
    boxes: list[tuple[slice, slice]], unfinished: np.ndarray
) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Finished regions from left to right, some at a time: their common box and their numbers."""
    finished = np.flatnonzero(~unfinished)[1:]
    if not len(finished):
        return
    sides = np.array([[(side.start, side.stop) for side in boxes[n - 1]] for n in finished])
    order = np.argsort(sides[:, 1, 0], kind="stable")
    finished, sides = finished[order], sides[order]
    begin = 0
    for end in range(1, len(finished) + 1):
        if end < len(finished):
            lengths = np.ptp(sides[begin : end + 1].swapaxes(1, 2).reshape(-1, 2), axis=0)
            if lengths.prod() <= TOGETHER:
                continue
        low, high = sides[begin:end, :, 0].min(axis=0), sides[begin:end, :, 1].max(axis=0)
        yield (slice(low[0], high[0]), slice(low[1], high[1])), finished[begin:end]
        begin = end


def _fill(found: list[Nucleus], known: list[Nucleus]) -> None:
    """Give the holes of nuclei to them, where no other nucleus lies in them."""
    holed = [one for one in found if _has_hole(one.mask)]
    if not holed:
        return
    boxes = np.array(
        [(one.top, one.left, one.bottom, one.left + one.mask.shape[1]) for one in known]
    )
    filled = []
    for one in holed:
        low = np.array([one.top, one.left])
        inside = (boxes[:, :2] > low).all(axis=1)
        inside &= (boxes[:, 2:] < low + one.mask.shape).all(axis=1)
        labels = one.mask.astype(np.int32)
        for number, place in enumerate(np.flatnonzero(inside), 2):
            other = known[place]
            top, left = other.top - one.top, other.left - one.left
            window = labels[top : other.bottom - one.top, left : left + other.mask.shape[1]]
            window[other.mask] = number
        filled.append(fill_holes(labels) == 1)
    # Afterwards, since a nucleus that is filled already would hide what lies in it.
    for one, mask in zip(holed, filled, strict=True):
        one.mask = mask


def _has_hole(mask: np.ndarray) -> bool:
    return bool((ndimage.binary_fill_holes(mask) != mask).any())


def _draw(nuclei: list[Nucleus], top: int, bottom: int, width: int) -> np.ndarray:
    """Rows of the label map."""
    labels = np.zeros((bottom - top, width), np.int32)
    for one in nuclei:
        low, high = max(top, one.top), min(bottom, one.bottom)
        if low < high:
            window = labels[low - top : high - top, one.left : one.left + one.mask.shape[1]]
            window[one.mask[low - one.top : high - one.top]] = one.number
    return labels
