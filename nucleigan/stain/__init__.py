"""Stains: optical density, sparse separation with SPAMS, normalisation to a reference."""

from nucleigan.stain.normalization import normalize
from nucleigan.stain.profile import StainProfile
from nucleigan.stain.separation import concentrations, estimate_stains
from nucleigan.stain.stage import choose_reference, normalize_slide, profile_slide

__all__ = [
    "StainProfile",
    "choose_reference",
    "concentrations",
    "estimate_stains",
    "normalize",
    "normalize_slide",
    "profile_slide",
]
