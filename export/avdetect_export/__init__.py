"""Checkpoint to bundle.

What is offered here needs no torch until a checkpoint is read.
"""

from avdetect_export.bundle_export import WordOptions, export_bundle
from avdetect_export.bundle_writer import ExportOptions, check_bundle_target, read_bundle, write_bundle
from avdetect_export.encoder_bundle import export_encoders

__all__ = [
    "ExportOptions",
    "WordOptions",
    "check_bundle_target",
    "export_bundle",
    "export_encoders",
    "read_bundle",
    "write_bundle",
]
