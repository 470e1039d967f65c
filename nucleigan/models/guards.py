"""Signs that a CycleGAN goes wrong, looked for on fixed pictures while it learns."""

import math
from collections.abc import Callable

import torch

from nucleigan.models.spectrum import spectra

Network = Callable[[torch.Tensor], torch.Tensor]
# What is measured, columns of a training's history.
MEASURES = ("spread", "hidden", "contrast", "bright", "woven")
# Below this part of the real windows' spread the painted images look alike whatever the mask is.
LEAST_SPREAD = 0.4
# Images that grow this much less like themselves when the masks between are rounded were hidden
# in what the rounding took away.
MOST_HIDDEN = 2.0
# Of the pixels of annotated nuclei in normalised patches of the Kumar tiles .05 are brighter than
# what surrounds the nuclei; of nuclei that were painted with white cores .09, of others .0001.
MOST_BRIGHT = 0.07
# Six windows of the Kumar tiles have up to 3.9 times the power of six others in one band, below 2
# times in nine of ten draws; images with woven patterns have 5 to 13 times theirs.
MOST_WOVEN = 4.5


def watch(
    to_image: Network,
    to_mask: Network,
    masks: torch.Tensor,
    images: torch.Tensor,
    back: Network,
    nuclei: torch.Tensor | None = None,
) -> dict[str, float]:
    """What the networks make of fixed pictures.

    Parameters
    ----------
    to_image
        From masks (B, C, H, W) in [-1, 1] to images (B, 3, H, W) in [-1, 1]; the same random
        numbers beside every mask and in every call.
    to_mask
        From images to masks.
    masks, images
        Not paired; at least two of each.
    back
        From masks to images as the cycle of images knows it, for ``hidden``.
    nuclei
        Those of the masks, (B, H, W) bool; by default where the first channel is high.

    Returns
    -------
    ``spread``
        Standard deviation of painted images from one to the next, mean over pixels and colours,
        over that of the real ones: 0 where every mask becomes the same image.
    ``hidden``
        L1 error of a real image's cycle when the mask between is rounded to its two values, over
        the error when it is not: far above 1 where the cycle hides the image in the mask.
    ``contrast``
        How much darker painted nuclei are than their surroundings in red light, which haematoxylin
        absorbs; of the range 2. Below 0 the images are inverted. NaN without nuclei.
    ``bright``
        Part of the pixels of painted nuclei that are brighter in red light than the surroundings
        of the nuclei of their image. NaN without nuclei.
    ``woven``
        How many times the power of real images the painted ones have in the band of spatial
        frequencies in which they exceed them most: far above 1 where a pattern repeats itself.
    """
    painted = to_image(masks)
    found = to_mask(images)
    # A pixel on the fence is no nucleus.
    rounded = torch.where(found > 0, 1.0, -1.0).to(found)
    clean, coarse = ((back(mask) - images).abs().mean().item() for mask in (found, rounded))
    within = masks[:, 0] > 0 if nuclei is None else nuclei
    red, outside = painted[:, 0], ~within
    known = bool(within.any() and outside.any())
    around = (red * outside).sum((1, 2)) / outside.sum((1, 2))
    brighter = within & (red > around[:, None, None])
    made, real = (spectra(some.float()).mean().mean(dim=0) for some in (painted, images))
    return {
        "spread": painted.std(dim=0).mean().item() / max(images.std(dim=0).mean().item(), 1e-6),
        "hidden": coarse / max(clean, 1e-6),
        "contrast": (red[outside].mean() - red[within].mean()).item() if known else math.nan,
        "bright": (brighter.sum() / within.sum()).item() if known else math.nan,
        "woven": (made - real).max().exp().item(),
    }


def doubts(seen: dict[str, float]) -> list[str]:
    """Sentences about what :func:`watch` found, none where nothing is wrong."""
    told = []
    if seen["spread"] < LEAST_SPREAD:
        told.append(
            f"the painted images hardly differ (spread {seen['spread']:.2f} of real windows, "
            f"expected at least {LEAST_SPREAD:g}): the generator has collapsed; lower "
            "cyclegan.discriminator.width or the learning rate, or train longer"
        )
    if seen["hidden"] > MOST_HIDDEN:
        told.append(
            f"images come back {seen['hidden']:.1f} times worse when the masks between are rounded "
            f"(expected at most {MOST_HIDDEN:g}): they are hidden in the masks; raise "
            "cyclegan.mask_noise or lower cyclegan.lambda_image"
        )
    if seen["contrast"] < 0:
        told.append(
            f"painted nuclei are brighter than their surroundings (by {-seen['contrast']:.2f} of "
            "2): the images are inverted; raise cyclegan.lambda_polarity"
        )
    elif seen["bright"] > MOST_BRIGHT:
        told.append(
            f"{seen['bright']:.0%} of the pixels of painted nuclei are brighter than their "
            f"surroundings (expected at most {MOST_BRIGHT:.0%}): nuclei are white in part; raise "
            "cyclegan.lambda_polarity or lower cyclegan.discriminator.width"
        )
    if seen["woven"] > MOST_WOVEN:
        told.append(
            f"painted images have {seen['woven']:.1f} times the power of real ones in one band of "
            f"spatial frequencies (expected at most {MOST_WOVEN:g}): a pattern is woven into them; "
            "raise cyclegan.lambda_spectrum or cyclegan.slope_penalty, or train longer"
        )
    return told
