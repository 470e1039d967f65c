"""Past pictures, shown to a discriminator again so that it does not forget (Shrivastava 2017)."""

import numpy as np
import torch

from nucleigan.training import processes


class HistoryPool:
    """Keeps up to ``size`` pictures; a query returns each new picture or trades it for an old one.

    Parameters
    ----------
    size
        Pictures kept; 0 returns every query unchanged.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.pictures: list[torch.Tensor] = []

    def query(self, pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Trade pictures (B, C, H, W) for the same number, half of them from the past.

        While the pool fills, the new pictures are stored and returned. Then each is returned with
        probability ½, or replaced in the pool, which gives back the one that it held.
        """
        if self.size == 0:
            return pictures
        # Those of a checkpoint come from the processor's memory, and a pool is saved as one tensor.
        self.pictures = [picture.to(pictures.device) for picture in self.pictures]
        traded = []
        # Every process keeps the same pool, that of the whole batch.
        for picture in processes.gather(pictures.detach()):
            if len(self.pictures) < self.size:
                self.pictures.append(picture.clone())
                traded.append(picture)
            elif rng.random() < 0.5:
                place = int(rng.integers(self.size))
                traded.append(self.pictures[place])
                self.pictures[place] = picture.clone()
            else:
                traded.append(picture)
        return torch.stack(processes.mine(traded))

    def state(self) -> dict[str, torch.Tensor]:
        """The pictures, for a checkpoint."""
        return {"pictures": torch.stack(self.pictures)} if self.pictures else {}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Take the pictures from a checkpoint."""
        self.pictures = list(state["pictures"]) if state else []
