"""The report of a search: one HTML file that opens without a network."""

from layernas_tf.report.data import (
    ExportedFile,
    LayerEffects,
    MemorialCell,
    MemorialTable,
    ReportData,
    ReportTrial,
    TrainedNetwork,
)

__all__ = [
    "ExportedFile",
    "LayerEffects",
    "MemorialCell",
    "MemorialTable",
    "ReportData",
    "ReportTrial",
    "TrainedNetwork",
]
