"""Rows of one table trained for different numbers of epochs."""

from oncoseg.evaluation.audit.check import Check
from oncoseg.evaluation.audit.conditions import differing

FORMULA = "one value in all rows of a table"
CHECK = Check("epochs", FORMULA, "C", "", "`conditions` of kind epochs in the side file", differing("epochs"))
