"""Public sets of blurred and sharp pairs: GoPro, REDS, RealBlur, DVD, or any folder of pairs."""

from .deblur_pairs_dataset_builder import Builder

__all__ = ["Builder"]
