"""The table of methods that segment.

A method is one file with a :class:`nucleigan.models.contract.Method` called ``METHOD``, and one row
of :data:`METHODS`. Files are imported when their method is asked for, so that a change of one
method trains no other, and the workflow plans its jobs without loading PyTorch.
"""

import importlib
from typing import TYPE_CHECKING

from nucleigan.errors import NucleiganError

if TYPE_CHECKING:
    from nucleigan.models.contract import Method

# Name of a method to the module that holds it.
METHODS = {
    "cgan": "nucleigan.models.cgan",
    "classical": "nucleigan.models.classical",
    "cnn3": "nucleigan.models.cnn3",
    "dist": "nucleigan.models.dist",
    "fcn": "nucleigan.models.fcn",
    "mask_rcnn": "nucleigan.models.mask_rcnn",
    "unet": "nucleigan.models.unet",
}


def load_method(name: str) -> "Method":
    """The method of that name.

    Raises
    ------
    NucleiganError
        There is no such row in :data:`METHODS`.
    """
    return importlib.import_module(method_module(name)).METHOD


def method_module(name: str) -> str:
    """The module of the method of that name; errors as :func:`load_method`."""
    if name not in METHODS:
        raise NucleiganError(
            f"segmentation.methods or baselines.methods names {name!r}; known are "
            f"{', '.join(sorted(METHODS))}: take one of these."
        )
    return METHODS[name]
