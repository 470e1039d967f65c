"""One-to-one partners among overlapping nuclei."""

import numpy as np

from nucleigan.metrics.table import Contingency


def pairs_above(table: Contingency, threshold: float) -> np.ndarray:
    """Positions in the table of as many one-to-one pairs above an IoU as there can be.

    Parameters
    ----------
    table
        Of :func:`nucleigan.metrics.table.contingency`.
    threshold
        In [0, 1); the IoU must exceed it. From 0.5 on the pairs are unique (Kirillov et al. 2019).
    """
    above = np.flatnonzero(table.iou > threshold)
    if threshold >= 0.5 or len(above) == 0:
        return above
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    shape = (table.truths, table.predictions)
    graph = csr_array(
        (np.ones(len(above), bool), (table.row[above], table.column[above])), shape=shape
    )
    partner = maximum_bipartite_matching(graph, perm_type="column")
    return above[partner[table.row[above]] == table.column[above]]


def pairs_of_greatest_iou(table: Contingency) -> np.ndarray:
    """Positions in the table of the one-to-one pairs whose IoUs add up to the most.

    The assignment is solved in each group of nuclei that overlap, however indirectly; most groups
    are a single pair.
    """
    if len(table.row) == 0:
        return np.zeros(0, np.int64)
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    nodes = table.truths + table.predictions
    links = csr_array(
        (np.ones(len(table.row), bool), (table.row, table.truths + table.column)),
        shape=(nodes, nodes),
    )
    group = connected_components(links, directed=False)[1][table.row]
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) > 0])
    chosen = [_assign(table, cells) for cells in np.split(order, starts[1:])]
    return np.sort(np.concatenate(chosen))


def _assign(table: Contingency, cells: np.ndarray) -> np.ndarray:
    """Solve the assignment among a few cells of the table."""
    if len(cells) == 1:
        return cells
    from scipy.optimize import linear_sum_assignment

    rows, row = np.unique(table.row[cells], return_inverse=True)
    columns, column = np.unique(table.column[cells], return_inverse=True)
    if len(rows) == 1 or len(columns) == 1:
        return cells[[int(np.argmax(table.iou[cells]))]]
    iou = np.zeros((len(rows), len(columns)))
    iou[row, column] = table.iou[cells]
    taken = np.zeros(iou.shape, bool)
    taken[linear_sum_assignment(iou, maximize=True)] = True
    return cells[taken[row, column]]
