"""Writes the tables of docs/frameworks.md anew; with `--check` it says whether they are fresh."""

from __future__ import annotations

import os
import sys
from pathlib import Path

try:
    import torch
except ImportError:
    print(
        "PyTorch is not installed (make install-pytorch): docs/frameworks.md is neither checked nor written anew", file=sys.stderr
    )
    sys.exit(not ("--check" in sys.argv and os.environ.get("CI") != "true"))  # where CI is set nothing goes unchecked

from frameworks.clipping import clipping_table, norm_table, threshold_table
from frameworks.layers import model_table
from frameworks.optimizers import lacking_table, optimizer_table, step_table
from pages import Tables, write_or_check

from gradclip_cli.engines.tensorflow import set_up

set_up()
torch.set_num_threads(1)

PAGE = Path(__file__).with_name("frameworks.md")
TABLES: Tables = {
    "clipping": clipping_table,
    "thresholds": threshold_table,
    "norms": norm_table,
    "optimizers": optimizer_table,
    "steps": step_table,
    "lacking": lacking_table,
    "models": model_table,
}


if __name__ == "__main__":
    sys.exit(write_or_check(sys.argv[1:], PAGE, TABLES))
