"""The tables of a comparison, as a terminal shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradclip_cli.evidence.comparison import Comparison


def print_runs(compared: Comparison) -> None:
    """Print what the arms' runs did."""
    from gradclip_cli.cli.console import print_table
    from gradclip_cli.cli.layout import Table
    from gradclip_cli.evidence import report

    headings, rows = report.run_columns(compared), report.run_rows(compared)
    columns = dict(zip(["arm", "seeds", *compared.result_columns], headings, strict=False))
    primary = [columns[name] for name in ("arm", *reversed(compared.result_columns), "seeds")]
    print_table(Table(headings, rows, primary, texts=["status"], names="arm"), elsewhere="comparison.md")


def print_verdicts(compared: Comparison) -> None:
    """Print how the arms stand to the baseline."""
    from gradclip_cli.cli.console import VERDICT_STYLES, print_table
    from gradclip_cli.cli.layout import Table
    from gradclip_cli.evidence import report

    headings = report.verdict_columns(compared)
    primary = ["arm", "difference", "on average", "p", "verdict", compared.metric.heading]
    rows = report.verdict_rows(compared)
    styles = {"verdict": VERDICT_STYLES}
    print_table(
        Table(headings, rows, primary, ["difference"], ["verdict"], names="arm", styles=styles), elsewhere="comparison.md"
    )
