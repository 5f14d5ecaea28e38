"""How good a result is, measured on its files: `evaluate`, and the values that it returns."""

from __future__ import annotations

from facexcli.evaluate.values import DoubtfulFrame, Evaluation, Metric, PersonSeries, load_evaluation

__all__ = ["DoubtfulFrame", "Evaluation", "Metric", "PersonSeries", "load_evaluation"]
