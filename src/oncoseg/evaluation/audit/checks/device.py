"""Rows of one table made on different hardware."""

from oncoseg.evaluation.audit.check import Check
from oncoseg.evaluation.audit.conditions import differing

FORMULA = "one value in all rows of a table"
CHECK = Check("device", FORMULA, "C", "", "`conditions` of kind device in the side file", differing("device"))
