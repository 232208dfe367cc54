"""Where a project's files are, seen from the folder in which its stages run.

A file that one stage writes and no other reads is named in that stage alone; dvc.yaml names all.
"""

from pathlib import Path

PARAMS, PIPELINE, LOCK = Path("params.yaml"), Path("dvc.yaml"), Path("dvc.lock")
IGNORED = Path(".dvcignore")
DATA, PLOTS = Path("data"), Path("plots")
LOGITS = DATA / "test_logits.safetensors"
WEIGHTS = Path("models/model.safetensors")
HISTORY = PLOTS / "training.csv"
# Where DVC runs queued and temporary experiments, each in a folder that it removes at the end.
QUEUED = ".dvc/tmp/exps"
# Not tracked: they tell of this machine, and never alter a result.
RESUME, LOG = Path("resume"), Path("logs/train.jsonl")


def metrics(stage: str) -> Path:
    return Path(f"metrics/{stage}.json")
