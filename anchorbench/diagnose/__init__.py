"""Diagnosis of models that are not ours: files of predictions, a loaded module, and what they are measured with.

from anchorbench.diagnose import diagnose
found = diagnose(predictions={32: a, 64: b, 128: c}, truth={32: ..., 64: ..., 128: ...}, train_rung=32)
found.verdict.word, found.slope, found.interval, found.cause.sentence
"""

from anchorbench.diagnose.causes import Cause, Evidence
from anchorbench.diagnose.judged import Diagnosis, diagnose

__all__ = ["Cause", "Diagnosis", "Evidence", "diagnose"]
