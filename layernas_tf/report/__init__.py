"""The report of a search: one HTML file that opens offline."""

from layernas_tf.report.data import (
    NO_LONGER,
    ClassFigures,
    ExportedFile,
    FamilyMember,
    LayerEffects,
    MemorialCell,
    MemorialSnapshot,
    ReportData,
    ReportTrial,
    TrainedNetwork,
)
from layernas_tf.report.search_report import report_html, write_report

__all__ = [
    "NO_LONGER",
    "ClassFigures",
    "ExportedFile",
    "FamilyMember",
    "LayerEffects",
    "MemorialCell",
    "MemorialSnapshot",
    "ReportData",
    "ReportTrial",
    "TrainedNetwork",
    "report_html",
    "write_report",
]
