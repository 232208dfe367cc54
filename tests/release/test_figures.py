"""What `make figures` records is what ran; docs/model.md says it and nothing else."""

import hashlib
import re
import statistics
from pathlib import Path

import pytest
import yaml

from release.card import model_card
from release.figures import MODEL, RESULT, record, record_seeds
from release.outputs import OUTPUTS
from tests.conftest import ROOT, run

RESULTS = yaml.safe_load(RESULT.read_text())


def test_the_card_holds_the_figures_of_the_run(done: Path) -> None:
    result = record(done)
    params = yaml.safe_load((done / "params.yaml").read_text())
    text = model_card(result, params)
    weights = (done / "models/model.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in text
    assert f"{len(weights):,} bytes" in text
    for stage in ("evaluate", "gradcam"):
        for name, value in result["metrics"][stage].items():
            assert f"| {name} | {value:.4f} |" in text
    assert "2 epochs, batch 32, SGD with Nesterov momentum 0.95" in text
    assert "The rate is 0.02." in text
    assert "schedule plateau" in text
    low, high = map(float, re.findall(r"interval is ([\d.]+)% to ([\d.]+)%", text)[0])
    assert low < 100 * result["metrics"]["evaluate"]["top1"] < high


def test_the_interval_is_wilsons(done: Path) -> None:
    """Of 9,362 of 10,000: 93.12% to 94.08%, by Wilson's formula (1927) worked by hand."""
    result = record(done)
    result["metrics"]["evaluate"]["top1"] = 0.9362
    result["metrics"]["download"]["test_images"] = 10000
    params = yaml.safe_load((done / "params.yaml").read_text())
    params["train"]["lr"] = "slide"
    z, n, p = 1.959964, 10000, 0.9362
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    text = model_card(result, params)
    assert f"{centre - half:.2%} to {centre + half:.2%}" in text
    assert "93.12% to 94.08%" in text
    assert "The rate is 0.02, the range test's `slide`." in text


def test_the_committed_card_is_that_of_the_result() -> None:
    """A result from before there was a card has no digest of its weights, and no card."""
    result = RESULTS["default"]
    assert MODEL.exists() == ("weights" in result), "run `make figures`"
    if MODEL.exists():
        params = run(ROOT, "git", "show", f"{result['commit']}:params.yaml").stdout
        assert MODEL.read_text() == model_card(result, yaml.safe_load(params))


def test_a_published_result_says_what_verify_allows_for() -> None:
    """And its card names the digest of the weights that are published."""
    result = RESULTS["default"]
    files = run(ROOT, "git", "ls-files", f"{OUTPUTS}/files").stdout.split()
    assert bool(files) == ("rounding" in result), "run `make release-outputs` and `make rounding`"
    if files:
        assert result["rounding"]["evaluate"] > 0
        md5 = result["weights"]["md5"]
        weights = (ROOT / OUTPUTS / "files/md5" / md5[:2] / md5[2:]).read_bytes()
        assert hashlib.sha256(weights).hexdigest() == result["weights"]["sha256"]


def test_the_mean_of_the_seeds_is_in_the_docs() -> None:
    """Of those that docs/result.yaml has."""
    seeds = [seed["top1"] for seed in RESULTS.get("quick", {}).get("seeds", [])]
    if seeds:
        mean, deviation = statistics.mean(seeds), 100 * statistics.stdev(seeds)
        text = (ROOT / "docs/results.md").read_text()
        assert f"**{mean:.2%}** ({deviation:.2f})" in text


def test_seeds_are_recorded_by_the_names_of_their_experiments(clone: Path) -> None:
    (clone / "metrics/evaluate.json").write_text('{"top1": 0.5}\n')
    run(clone, "git", "commit", "-qam", "another seed")
    run(clone, "git", "update-ref", "refs/exps/ab/cdef/quick-7", "HEAD")
    first = run(clone, "git", "rev-parse", "HEAD~1").stdout.strip()
    found = record_seeds(clone, ["quick-7", first])
    assert found["seeds"][0]["top1"] == 0.5
    assert [seed["seed"] for seed in found["seeds"]] == [0, 0]
    assert found["commit"] == first
    assert found["seconds_of_epochs"] > 0
    with pytest.raises(SystemExit, match="quick-8: no such experiment"):
        record_seeds(clone, ["quick-8", first])
