"""How close painted images are to tissue."""

import numpy as np
import torch

from nucleigan.models.realism import PAINTED, REAL, Realism


def noise(seed: int, count: int, contrast: float = 20.0) -> np.ndarray:
    grey = np.random.default_rng(seed).normal(150, contrast, (count, 32, 32, 3))
    return np.clip(grey, 0, 255).astype(np.uint8)


def test_what_is_like_the_real_windows_is_nearest():
    realism = Realism(torch.arange(float(PAINTED))[:, None], noise(0, REAL), seed=0)

    def painter(contrast):
        images = noise(1, PAINTED, contrast)
        return lambda part: images[part[:, 0].long().numpy()]

    same, near, far = (realism.look(painter(contrast)) for contrast in (20, 24, 40))
    assert abs(same) < 0.1 * near < 0.1 * far
    assert realism.look(painter(24)) == near
