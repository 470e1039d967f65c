"""The metrics again, written for their definitions alone: sets of pixels and plain loops."""

import itertools

import numpy as np


def nuclei(labels):
    """Pixel sets in reading order."""
    found = {}
    for y, x in itertools.product(*map(range, labels.shape)):
        if labels[y, x]:
            found.setdefault(int(labels[y, x]), set()).add((y, x))
    return list(found.values())


def iou(a, b):
    return len(a & b) / len(a | b)


def aji(truth, prediction):
    true, predicted = nuclei(truth), nuclei(prediction)
    if not true and not predicted:
        return 1.0
    above = below = 0
    used = set()
    for t in true:
        scores = [(iou(t, p), len(t & p)) for p in predicted]
        best = max(range(len(predicted)), key=lambda i: (*scores[i], -i), default=None)
        if best is None or scores[best][0] == 0:
            below += len(t)
            continue
        above += len(t & predicted[best])
        below += len(t | predicted[best])
        used.add(best)
    below += sum(len(p) for i, p in enumerate(predicted) if i not in used)
    return above / below


def assignments(allowed):
    """All ways to give each row at most one of its allowed partners, each used at most once."""
    if not allowed:
        yield ()
        return
    for rest in assignments(allowed[:-1]):
        yield (*rest, None)
        for j in allowed[-1]:
            if j not in rest:
                yield (*rest, j)


def partners(true, predicted, allow):
    return [[j for j, p in enumerate(predicted) if allow(t, p)] for t in true]


def aji_plus_values(truth, prediction):
    """AJI+ of every assignment whose IoUs add up to the most."""
    true, predicted = nuclei(truth), nuclei(prediction)
    if not true and not predicted:
        return [1.0]
    values = []
    # Pairs that share nothing add nothing.
    for chosen in assignments(partners(true, predicted, lambda t, p: t & p)):
        pairs = [(t, predicted[j]) for t, j in zip(true, chosen, strict=True) if j is not None]
        total = sum(iou(t, p) for t, p in pairs)
        above = sum(len(t & p) for t, p in pairs)
        # Whatever is in no pair counts once: areas of all, less what pairs share.
        below = sum(map(len, true)) + sum(map(len, predicted)) - above
        values.append((total, above / below))
    most = max(total for total, _ in values)
    return [value for total, value in values if total > most - 1e-12]


def matched_ious(truth, prediction, threshold):
    """IoUs of the largest one-to-one matching above a threshold (any one of them)."""
    true, predicted = nuclei(truth), nuclei(prediction)
    best = []
    for chosen in assignments(partners(true, predicted, lambda t, p: iou(t, p) > threshold)):
        ious = [iou(t, predicted[j]) for t, j in zip(true, chosen, strict=True) if j is not None]
        if len(ious) > len(best):
            best = ious
    return best


def f1(truth, prediction, threshold):
    count = len(nuclei(truth)) + len(nuclei(prediction))
    return 2 * len(matched_ious(truth, prediction, threshold)) / count if count else 1.0


def panoptic(truth, prediction):
    count = len(nuclei(truth)) + len(nuclei(prediction))
    ious = matched_ious(truth, prediction, 0.5)
    return 2 * sum(ious) / count if count else 1.0


def dice(truth, prediction):
    a, b = truth > 0, prediction > 0
    total = a.sum() + b.sum()
    return 2 * (a & b).sum() / total if total else 1.0


def contour(pixels):
    return [
        (y, x) for y, x in pixels if not {(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)} <= pixels
    ]


def one_way(a, b):
    return [min(np.hypot(y - v, x - u) for v, u in contour(b)) for y, x in contour(a)]


def hausdorff(truth, prediction, statistic, direction, misses):
    true, predicted = nuclei(truth), nuclei(prediction)
    distances = []
    matched = 0
    for t in true:
        overlaps = [len(t & p) for p in predicted]
        if not any(overlaps):
            if misses == "diameter":
                distances.append(2 * np.sqrt(len(t) / np.pi))
            continue
        matched += 1
        p = predicted[
            max(range(len(predicted)), key=lambda i: (overlaps[i], iou(t, predicted[i]), -i))
        ]
        there, back = one_way(t, p), one_way(p, t)
        reduce = {
            "maximum": max,
            "mean": np.mean,
            "percentile95": lambda values: np.percentile(values, 95),
        }[statistic]
        if direction == "truth_to_prediction":
            distances.append(reduce(there))
        elif direction == "prediction_to_truth":
            distances.append(reduce(back))
        elif statistic == "mean":
            distances.append(np.mean(there + back))
        else:
            distances.append(max(reduce(there), reduce(back)))
    return (
        np.mean(distances) if distances else np.nan,
        matched / len(true) if true else np.nan,
    )


def detection(truth, prediction, radius):
    true = [np.mean(list(pixels), axis=0) for pixels in nuclei(truth)]
    predicted = [np.mean(list(pixels), axis=0) for pixels in nuclei(prediction)]
    if not true and not predicted:
        return 1.0
    most = 0
    close = partners(true, predicted, lambda t, p: np.hypot(*(t - p)) <= radius)
    for chosen in assignments(close):
        most = max(most, sum(j is not None for j in chosen))
    return 2 * most / (len(true) + len(predicted))
