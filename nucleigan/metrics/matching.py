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

    Solved as a sparse assignment, so that a whole image of nuclei that touch costs no more than as
    many apart. Of assignments that add up to the same any one is taken.
    """
    if len(table.row) == 0:
        return np.zeros(0, np.int64)
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    # Every true nucleus may also stay alone, with a partner of its own at no gain. Costs are two
    # less the IoU: a cost of zero would count as no edge.
    n, m = table.truths, table.predictions
    row = np.r_[table.row, np.arange(n)]
    column = np.r_[table.column, m + np.arange(n)]
    cost = np.r_[2 - table.iou, np.full(n, 2.0)]
    graph = csr_array((cost, (row, column)), shape=(n, m + n))
    # One partner a row, in the order of the rows.
    _, partner = min_weight_full_bipartite_matching(graph)
    return np.flatnonzero(partner[table.row] == table.column)
