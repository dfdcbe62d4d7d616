"""HIDE: blurred and sharp street scenes with people."""

from .hide_dataset_builder import Builder

__all__ = ["Builder"]
