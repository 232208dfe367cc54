"""Is this the published result, on this machine? `make verify`, or `make verify TRAIN=quick`.

All of it happens in a clone in a temporary folder, at the commit that docs/result.yaml names, so
nothing of your own work is read or changed. It takes the published outputs, gets the data, runs
evaluate and gradcam anew, and compares every metric and every file that they write.

On the same kind of machine every metric, table and logit must have the same bits; pictures are
compared too, but they also depend on fonts, so another picture alone is only told. Elsewhere sums
are rounded otherwise, and a metric may differ by three times `rounding` of its stage: the largest
change that any metric of the stage showed when the published weights computed in another precision
(release/rounding.py). A CPU that computes the published precision only in software, which takes
hours, computes in fp32 instead; that rounding is the one that was measured.
"""

import os
import statistics
import sys
from pathlib import Path
from typing import Any

import yaml
from scipy.stats import t as student

from recipes.run import merge
from release.figures import RESULT, ROOT
from release.outputs import OUTPUTS, outs_of, shipped
from release.rerun import (
    Row,
    clone,
    compare,
    compute_in,
    differing_machine,
    run_stage,
    take_outputs,
)
from release.result import read_results
from src.device import in_software
from src.pipeline import paths
from src.pipeline.command import run_command
from src.pipeline.files import sha256_file, write_bytes
from src.pipeline.lock import md5
from src.share import pick_device

STAGES = ("download", "evaluate", "gradcam")
ROUNDINGS, DEVIATIONS = 3, 3
# How far rounding moves a stage's metrics, by stage, as docs/result.yaml has it.
Rounding = dict[str, Any]


def allowed(row: Row, rounding: Rounding) -> float:
    """How far a metric may lie from the published one."""
    return ROUNDINGS * rounding.get(row.stage, 0.0)


def close(row: Row, rounding: Rounding) -> bool:
    return row.moved <= allowed(row, rounding)


def table(rows: list[Row], rounding: Rounding) -> str:
    head = f"{'metric':<28}{'published':>12}{'here':>12}{'difference':>12}{'allowed':>10}\n"
    return head + "\n".join(
        f"{r.name:<28}{r.published:>12.6g}{r.here:>12.6g}{r.here - r.published:>12.2g}"
        f"{allowed(r, rounding):>10.2g}  {'ok' if close(r, rounding) else 'DIFFERS'}"
        for r in rows
    )


def verdict(
    rows: list[Row], rounding: Rounding, differing: list[str], other: list[str]
) -> tuple[bool, str]:
    """Whether this is the published result, and the sentence that says so.

    differing: in what the machine is not the published one; other: files with other bytes.
    """
    apart = [row.name for row in rows if not close(row, rounding)]
    if not differing:
        apart += [name for name in other if not name.endswith(".png")]
    if apart:
        why = "computes otherwise than published" if differing else "is of the published kind"
        return False, f"No: {', '.join(apart)} differ by more than allowed; this machine {why}."
    if all(row.here == row.published for row in rows):
        return True, "Yes: every metric has the published bits."
    return True, "Yes: every metric agrees within rounding."


def other_files(
    project: Path, published: dict[str, str], stages: tuple[str, ...]
) -> tuple[list[str], str]:
    """The stages' outputs that have not the published bytes, and a sentence on how many have."""
    outs = outs_of(project)
    names = [name for stage in stages for name in outs[stage] if name in published]
    here = {name: md5(project / name) for name in names}
    other = [name for name, digest in here.items() if digest != published[name]]
    said = f"{len(names) - len(other)} of {len(names)} files have the published bytes"
    return other, f"{said}; not {', '.join(other)}" if other else said


def check_result(root: Path, result: dict[str, Any]) -> bool:
    """Compute the published metrics anew and print what came out."""
    print(f"The result of commit {result['commit'][:7]}: {result['hardware']}", flush=True)
    precision = "fp32" if in_software(result["precision"], pick_device()) else result["precision"]
    with clone(root, result["commit"]) as project:
        take_outputs(project, root / OUTPUTS)
        check_network(project, result)
        published = shipped(project)
        if precision != result["precision"]:
            compute_in(precision, project)
        here = {stage: run_stage(project, stage) for stage in STAGES}
        other, files = other_files(project, published, STAGES)
    differing = differing_machine(result, precision)
    rounding = result["rounding"] if differing else {}
    rows = compare(result["metrics"], here)
    right, sentence = verdict(rows, rounding, differing, other)
    print(f"\n{table(rows, rounding)}\n\n{files}.")
    print(f"This machine differs: {'; '.join(differing) or 'in nothing that decides bits'}.")
    print(sentence)
    return right


def check_network(project: Path, result: dict[str, Any]) -> None:
    """The end where the network that was pulled is not the one whose digest was published."""
    if sha256_file(project / paths.WEIGHTS) != result["weights"]["sha256"]:
        sys.exit(
            f"error: the network of commit {result['commit'][:7]} is not the one whose SHA-256 "
            "docs/result.yaml names"
        )


def check_seed(seed: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether a training has the figures of its seed, as on the published kind of machine."""
    right = all(here[name] == seed[name] for name in ("top1", "val_accuracy"))
    print(
        f"quick here, with seed {seed['seed']}: {here['top1']:.2%} of the test images, "
        f"{here['val_accuracy']:.2%} of the validation images; published: {seed['top1']:.2%}, "
        f"{seed['val_accuracy']:.2%}. {'Yes' if right else 'No'}: on this kind of machine both "
        f"must be the same{'' if right else ', and are not'}."
    )
    return right


def check_accuracy(quick: dict[str, Any], top1: float) -> bool:
    """Whether an accuracy lies where those of the published seeds lie, and print it."""
    seeds = [seed["top1"] for seed in quick["seeds"]]
    mean, deviation = statistics.mean(seeds), statistics.stdev(seeds)
    right = abs(top1 - mean) <= DEVIATIONS * deviation
    # Mean and deviation of a few seeds are rough: a further seed has Student's distribution.
    outside = 2 * student.sf(DEVIATIONS / (1 + 1 / len(seeds)) ** 0.5, len(seeds) - 1)
    print(
        f"quick here: {top1:.2%}; published: mean {mean:.2%}, standard deviation "
        f"{100 * deviation:.2f} points over {len(seeds)} seeds. "
        f"{'Within' if right else 'NOT within'} {DEVIATIONS} standard deviations, outside of which "
        f"{outside:.0%} of honest runs lie."
    )
    return right


def published_recipe(project: Path) -> dict[str, Any]:
    recipe: dict[str, Any] = yaml.safe_load((project / "recipes/quick.yaml").read_text())
    return recipe


def tell_cost(quick: dict[str, Any]) -> None:
    """What the training of the quick recipe will take, before anything runs."""
    print(
        f"After the evaluation quick is trained, at commit {quick['commit'][:7]}: its epochs took "
        f"{quick['seconds_of_epochs'] / 60:.0f} min on {quick['hardware']} ({quick['precision']}). "
        "The bar of each epoch shows the time left; Ctrl-C ends it and leaves nothing behind.",
        flush=True,
    )


def check_training(root: Path, quick: dict[str, Any]) -> bool:
    """Train the quick recipe and compare its accuracy with the published seeds'."""
    print(f"\nquick, at commit {quick['commit'][:7]}", flush=True)
    with clone(root, quick["commit"]) as project:
        params = project / paths.PARAMS
        values = merge(yaml.safe_load(params.read_text()), published_recipe(project))
        write_bytes(params, yaml.safe_dump(values, sort_keys=False).encode())
        stages = ("download", "lr_find", "train", "evaluate")
        here = [run_stage(project, stage) for stage in stages]
    return check_figures(quick, values["seed"], here[-2] | here[-1])


def check_figures(quick: dict[str, Any], seed: int, here: dict[str, Any]) -> bool:
    """Whether a training's figures are those published, by bits or by the spread of seeds.

    here: the metrics of train and evaluate.
    """
    same = [each for each in quick["seeds"] if each["seed"] == seed]
    if same and not (differing := differing_machine(quick, here["precision"])):
        return check_seed(same[0], here)
    if same:
        print(f"This machine differs from that of the seeds: {'; '.join(differing)}.")
    return check_accuracy(quick, here["top1"])


def main() -> int:
    """Verify what is published and, if TRAIN asks for it, what training gives; 0 if both hold."""
    results = read_results(RESULT)
    if (train := os.environ.get("TRAIN")) not in (None, "", "quick"):
        sys.exit(f"error: TRAIN={train}: only quick can be trained, `make verify TRAIN=quick`")
    if train and "quick" not in results:
        sys.exit("error: docs/result.yaml has no seeds of quick, so no published mean exists")
    if "rounding" not in results["default"]:
        sys.exit(
            "error: docs/result.yaml has no rounding of this result; `make rounding` measures it"
        )
    if train:
        tell_cost(results["quick"])
    right = check_result(ROOT, results["default"])
    if train:
        right = check_training(ROOT, results["quick"]) and right
    return 0 if right else 1


if __name__ == "__main__":
    run_command(main)
