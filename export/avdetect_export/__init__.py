"""Checkpoint to bundle.

What is offered here needs no torch until a checkpoint is read.
"""

from avdetect_export.bundle_export import WordOptions, export_bundle
from avdetect_export.bundle_writer import ExportOptions, read_bundle, write_bundle

__all__ = ["ExportOptions", "WordOptions", "export_bundle", "read_bundle", "write_bundle"]
