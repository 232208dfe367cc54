"""How far rounding moves the published metrics: `make rounding`, once for each release.

The same weights give other last bits on other hardware, because sums are rounded otherwise. One
machine can show the size of that effect: it computes the published weights in another precision.
That changes the rounding of every sum, not only the order of the sums. For each stage the largest
change of any of its metrics goes into docs/result.yaml, and `make verify` allows three times that.
It is the largest of a stage, because a single metric can stay the same by chance.
"""

import math
import sys
from pathlib import Path
from typing import Any

from release.figures import RESULT, ROOT
from release.outputs import OUTPUTS
from release.rerun import (
    Row,
    clone,
    compare,
    compute_in,
    differing_machine,
    run_stage,
    take_outputs,
)
from release.result import read_results, write_results
from src.pipeline.command import run_command

PRECISIONS = ("fp32", "bf16")
# As -m, but a CPU that lacks a precision computes it all the same, where a stage would take fp32.
IN_SOFTWARE = (
    "-c",
    "import runpy, sys; from src import device; device.in_software = lambda *_: False; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__')",
)


def measure(root: Path, result: dict[str, Any]) -> dict[str, Any]:
    """The largest change of a metric of evaluate and of gradcam, and how it was measured."""
    elsewhere = bool(differing_machine(result, result["precision"]))
    tried = [p for p in PRECISIONS if elsewhere or p != result["precision"]]
    largest = {"evaluate": 0.0, "gradcam": 0.0}
    with clone(root, result["commit"]) as project:
        take_outputs(project, root / OUTPUTS)
        run_stage(project, "download")
        for precision in tried:
            compute_in(precision, project)
            for stage, before in largest.items():
                here = {stage: run_stage(project, stage, IN_SOFTWARE)}
                changes = [change(row) for row in compare(result["metrics"], here)]
                largest[stage] = max(before, *changes)
    return {"precisions": tried, **largest}


def change(row: Row) -> float:
    """How far a metric moved; the end where one side lacks it."""
    if math.isnan(row.moved):
        sys.exit(f"error: {row.name}: is a metric of one precision alone; its change is no number")
    return row.moved


def main() -> None:
    result = read_results(RESULT)["default"]
    rounding = measure(ROOT, result)
    # It took minutes, in which another command may have recorded another run.
    results = read_results(RESULT)
    if results["default"]["commit"] != result["commit"]:
        sys.exit(f"error: {RESULT}: tells of another run by now; measure its rounding")
    results["default"]["rounding"] = rounding
    write_results(RESULT, results)
    print(f"docs/result.yaml: rounding {rounding}")


if __name__ == "__main__":
    run_command(main)
