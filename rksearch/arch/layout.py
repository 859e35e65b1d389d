"""From a spec and the shape of images to rows: one row per layer, in the order of the definition.

This is the single place where widths and resolutions are computed. Costs are sums over rows (`rksearch.arch.cost`), and
modules are built from the same rows (`rksearch.models`): a row's `path` is the built module's path.

A row whose `weight` differs from its `path` computes with another row's weights: it costs multiply-adds again, and no
parameters.
"""

from __future__ import annotations

from rksearch.arch.families import family_of
from rksearch.arch.image import ImageShape
from rksearch.arch.rows import LARGE_IMAGE, Kind, Layout, Row, Size, Writer, image_size, is_large
from rksearch.arch.spec import ArchSpec

__all__ = ["LARGE_IMAGE", "Kind", "Layout", "Row", "Size", "image_size", "is_large", "layout"]


def layout(spec: ArchSpec, shape: ImageShape) -> Layout:
    """The rows of `spec` for images of `shape`.

    Raises:
        SpecError: the network halves the resolution more often than the images allow.
    """
    family, writer = family_of(spec), Writer(spec, shape)
    family.rows(writer, spec)
    return Layout(spec, shape, tuple(writer.rows), family.pools_first)
