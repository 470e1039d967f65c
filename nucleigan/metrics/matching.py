"""One-to-one partners among overlapping nuclei."""

import numpy as np

from nucleigan.metrics.table import Contingency

# Overlaps in one assignment problem, whose solution takes time with their square.
AT_A_TIME = 4000


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

    The assignment is solved for some groups at a time of nuclei that overlap, however indirectly.
    Of assignments that add up to the same any one is taken.
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
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    cuts = starts[np.flatnonzero(np.diff(starts // AT_A_TIME)) + 1]
    return np.sort(np.concatenate([_assign(table, cells) for cells in np.split(order, cuts)]))


def _assign(table: Contingency, cells: np.ndarray) -> np.ndarray:
    """Solve the assignment among some cells of the table."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    rows, row = np.unique(table.row[cells], return_inverse=True)
    columns, column = np.unique(table.column[cells], return_inverse=True)
    # Every true nucleus may also stay alone, with a partner of its own at no gain. Costs are two
    # less the IoU: a cost of zero would count as no edge.
    n, m = len(rows), len(columns)
    alone = np.arange(n)
    cost = np.r_[2 - table.iou[cells], np.full(n, 2.0)]
    graph = csr_array((cost, (np.r_[row, alone], np.r_[column, m + alone])), shape=(n, m + n))
    # One partner a row, in the order of the rows.
    _, partner = min_weight_full_bipartite_matching(graph)
    return cells[partner[row] == column]
