"""Early warning: readings of a probe, signals over their history, and a detector over these."""

from foldmon.warning.detector import Detector, FoldingWarning

__all__ = ["Detector", "FoldingWarning"]
