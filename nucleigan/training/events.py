"""Losses for TensorBoard, while the training goes on."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from nucleigan.errors import NucleiganError


class Events:
    """Writes event files, or nothing; to be used in a ``with`` statement.

    Parameters
    ----------
    folder
        Where to; None writes nothing and needs no package.
    first
        The step that the training begins or goes on with: what an earlier start wrote of it and of
        later ones is hidden.

    Raises
    ------
    NucleiganError
        The package that writes them is not installed.
    """

    def __init__(self, folder: str | Path | None, first: int = 0) -> None:
        self._writer = None
        if folder is None:
            return
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise NucleiganError(
                "compute.tensorboard is true, but the package tensorboardX is not installed; run "
                "`pip install tensorboardX`, or set it to false."
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=first)

    def add(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Add numbers as ``group/name`` at a step."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)

    def __enter__(self) -> "Events":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
