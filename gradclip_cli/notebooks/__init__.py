"""The same from Python: stored runs as tables, comparisons and pages as objects that a notebook shows by themselves."""

from gradclip_cli.notebooks.comparing import Compared, compare
from gradclip_cli.notebooks.reporting import Page, report
from gradclip_cli.notebooks.stored import Run, Runs, load

__all__ = ["Compared", "Page", "Run", "Runs", "compare", "load", "report"]
