"""The benchmark: `make bench`. Writes bench.json, table.md, costs.png and recorders.json into results/bench.

Every contender runs in a process of its own, in turn, several rounds, because the machine's speed drifts: what counts are
ratios within one call. Those whose library is not installed are left out, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import costs
import own_problems
import tables
import whole
from contenders import CONTENDERS

ROUNDS = 3
ROUNDS_OF_EXAMPLES = 1  # within it, contenders of one process take five turns; recorders, which cost little, need more
NEEDS = {"pytorch": "torch", "jax": "jax"}
JAX = Path(sys.prefix) / "jax"  # where `make install-all` puts it, so that TensorFlow doesn't import it
ONCE = ("pixels",)
RESULTS = Path(__file__).parent.parent / "results" / "bench"
Gathered = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each contender has its turn")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder that the files are written into")
    parser.add_argument("--draw", action="store_true", help="write table and picture again from bench.json, measuring nothing")
    chosen = parser.parse_args()
    if chosen.draw:
        content = json.loads((chosen.results / "bench.json").read_text())
    else:
        content = measured(chosen.rounds)
        chosen.results.mkdir(parents=True, exist_ok=True)
        (chosen.results / "bench.json").write_text(json.dumps(content, indent=2) + "\n")
        recorders = own_problems.recorder_costs(content["figures"])
        (chosen.results / "recorders.json").write_text(json.dumps(recorders, indent=2) + "\n")
    content["bounds"] = tables.bounds(content["figures"])
    table = tables.to_markdown(content)
    (chosen.results / "table.md").write_text(table)
    costs.draw(content, chosen.results / "costs.png")
    print(table)


def measured(rounds: int) -> dict[str, object]:
    """All figures of so many rounds, by name, with what they were measured on."""
    missing = [name for name, library in NEEDS.items() if library not in versions()]
    figures: Gathered = {}
    for number in range(1, rounds + 1):
        for name in CONTENDERS:
            if name not in missing and (number == 1 or name not in ONCE):
                gather(figures, contend(name))
        for kind in ("one_run", "ninety", "start_up", "shares"):
            gather(figures, contend(kind, file="whole.py"))
        for name in (*own_problems.EXAMPLES, own_problems.DENSE):
            for kind in own_problems.CONTENDERS:
                if number <= ROUNDS_OF_EXAMPLES or kind == "recorders":
                    gather(figures, contend(kind, name, file="own_problems.py"))
        print(f"round {number} of {rounds}", file=sys.stderr)
    for runs in whole.SWARMS[:-1]:
        with tempfile.TemporaryDirectory() as folder:
            gather(figures, whole.swarm(runs, folder))
    for name in own_problems.EXAMPLES:
        gather(figures, own_problems.pool(name))
    gather(figures, contend("ten_thousand", file="whole.py"))
    return {"machine": machine(), "rounds": rounds, "missing": missing, "figures": figures}


def contend(*arguments: str, file: str = "contenders.py") -> dict[str, float]:
    """The figures that a contender prints last."""
    command = [sys.executable, str(Path(__file__).with_name(file)), *arguments]
    given = {**os.environ, "PYTHONPATH": str(JAX)} if arguments[0] == "jax" else None
    output = subprocess.run(command, check=True, env=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return dict(json.loads(output.splitlines()[-1]))


def gather(figures: Gathered, measured: dict[str, float]) -> None:
    for name, value in measured.items():
        figures.setdefault(name, []).append(value)


def versions() -> dict[str, str]:
    """Of the libraries that some contenders need, where they are installed."""
    found = {each.name: each.version for each in metadata.distributions(path=[*sys.path, str(JAX)])}
    return {library: found[library] for library in NEEDS.values() if library in found}


def machine() -> dict[str, object]:
    from gradclip_cli.runs.provenance import provenance

    facts = provenance("tensorflow")
    return {
        **facts["machine"],
        **facts["versions"],
        **versions(),
        "cores_available": len(os.sched_getaffinity(0)),
        "platform": platform.platform(),
    }


if __name__ == "__main__":
    main()
