"""COCO 2017 as luminance and chroma."""

from .coco_lab_dataset_builder import Builder, LabConfig

__all__ = ["Builder", "LabConfig"]
