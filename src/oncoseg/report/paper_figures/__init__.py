"""The figures that the papers of this field show, one file each, drawn from the result files of a run.

A file of this room holds TITLE, the dataclass Choices and `draw(results, choices)`; `oncoseg.report.drawing` finds it
by its name, draws and saves.
"""
