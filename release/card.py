"""docs/model.md: what the published network is, and what it must not be taken for.

`make figures` writes it from docs/result.yaml and params.yaml, so it holds no number of its own.
"""

import hashlib
from pathlib import Path
from typing import Any

from src.evaluation.interval import wilson

CARD = """\
<!-- Written by `make figures` from docs/result.yaml and params.yaml. -->
# Model card

## What it is

A {arch} for images of 32 × 32 pixels (3 × 3 stem, no max-pooling), trained from scratch to tell \
the ten classes of CIFAR-10 apart. The file is `models/model.safetensors`: half precision, with \
batch norm in fp32. It holds tensors and a line of JSON, and no code. `make weights` brings it.

| | |
|---|---|
| size | {bytes:,} bytes |
| SHA-256 | `{sha256}` |
| MD5, as in dvc.lock | `{md5}` |
| command | `{command}` |
{origin}
| licence | MIT, as the code |

## Data

CIFAR-10 (Krizhevsky 2009): {train_images:,} training and {test_images:,} test images, checked by \
a digest of their content. {held_out} evaluate and gradcam alone read the test set. Whoever \
chose knew the test accuracies of earlier forms ([log.md](log.md#what-was-known-of-the-test-set)).

## Recipe

{epochs} epochs, batch {batch_size}, SGD with {nesterov}momentum {momentum} and weight decay \
{weight_decay}, label smoothing {label_smoothing}, schedule {schedule}. The rate is {rate}. \
{weights_are} {sizes}Augmentation: {augment}. {mixed}Seed {seed}. \
[parameters.md](parameters.md) explains every value.

## Accuracy

**{top1:.2%}** of the {test_images:,} test images are classified right. The 95% interval is \
{low:.2%} to {high:.2%} (Wilson). It covers the chance in the choice of test images. It does not \
cover the chance in training: this is one run, and another seed gives another accuracy.

| metric | value |
|---|---|
{metrics}

`ece` is the expected calibration error: how far confidence and accuracy lie apart. {calibrated}

`layer1` to `layer4` are how far Grad-CAM's maps lead the best of four controls, in log-odds, each \
with its standard error ([how it is measured](overview.md#is-the-map-faithful)).

## Limits

- It knows ten classes and gives each picture one of them, whatever the picture shows. A high \
probability does not mean that the picture is of a class that it knows.
- It was trained on 32 × 32 pixels. A photograph must be shrunk to that, and what is lost is lost.
- About 3% of CIFAR-10's test images have near-duplicates among the training images (Barz and \
Denzler 2020, [arXiv 1902.00423](https://arxiv.org/abs/1902.00423)), so the accuracy on wholly new \
images is presumably lower.
- CIFAR-10's pictures were collected from the web. Nobody has examined this network for bias. It \
is for learning and for comparing methods, not for decisions about people, safety or money.
"""


def weights_of(path: Path) -> dict[str, Any]:
    """Size and digests of the weights file."""
    content = path.read_bytes()
    return {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "md5": hashlib.md5(content).hexdigest(),
    }


ORIGIN = """\
| commit{of} | `{commit}` |
| machine{of} | {hardware}; {device}, {precision} |
| versions{of} | Python {python}, torch {torch}, albumentations {albumentations} |"""


def origin(result: dict[str, Any]) -> str:
    """Where a result was made; its network can be that of an earlier release."""
    if "trained" not in result:
        return ORIGIN.format(of="", **result)
    parts = {" of the training": result["trained"], " of evaluate and gradcam": result}
    return "\n".join(ORIGIN.format(of=of, **made) for of, made in parts.items())


def sizes_of(sides: list[int]) -> str:
    """How the images grow in training, in a sentence, or nothing."""
    if len(set(sides)) == 1:
        return ""
    return f"The images have {', '.join(map(str, sides))} pixels a side over equal shares of it. "


def rate_of(chosen: str | float, value: float) -> str:
    return f"{value:g}, the range test's `{chosen}`" if isinstance(chosen, str) else f"{value:g}"


def what_weights(average: dict[str, float] | None) -> str:
    """Which weights the file holds, in a sentence."""
    if average is None:
        return "The weights are those of the last step."
    decay = f"{average['decay']:g}"
    return f"The weights are their exponential moving average over the steps (decay {decay})."


def held_out(val_size: int, limit: int | None, images: int) -> str:
    """Which training images were not trained on, as far as the semicolon before the test set."""
    whole = limit is None or limit >= images - val_size
    rest = "" if whole else f"Training took {limit:,} of the {'others' if val_size else 'images'}. "
    if val_size == 0:
        return f"{rest}None is held out for validation, so this run chose nothing;"
    return (
        f"{val_size:,} of the training images, stratified, are held out for validation. {rest}"
        "Choices were made on those;"
    )


def mixed(kind: str, alpha: float) -> str:
    """What training did to pairs of images, in a sentence, or nothing."""
    return "" if kind == "none" else f"Images are mixed by {kind} (alpha {alpha:g}). "


def calibrated(evaluate: dict[str, float], val_size: int) -> str:
    """What to do before probabilities are read, in a sentence."""
    if "temperature" not in evaluate:
        why = "" if val_size else ", because no image was held out to fit one"
        return f"No temperature was fitted{why}."
    return (
        "Divide the logits by `temperature`, which was fitted on validation images, before you "
        "read probabilities; `ece_calibrated` is the mean error that is left, and single levels "
        "can be further off."
    )


def model_card(result: dict[str, Any], params: dict[str, Any]) -> str:
    """The text for a result of docs/result.yaml and the params.yaml of its commit."""
    metrics, optimizer = result["metrics"], params["optimizer"]
    top1, images = metrics["evaluate"]["top1"], metrics["download"]["test_images"]
    low, high = wilson(round(top1 * images), images)
    rows = [(k, v) for stage in ("evaluate", "gradcam") for k, v in metrics[stage].items()]
    values = {
        **result,
        **result["weights"],
        **metrics["download"],
        **params["train"],
        "origin": origin(result),
        "seed": params["seed"],
        "arch": params["model"]["arch"].replace("resnet", "ResNet-"),
        "held_out": held_out(
            params["data"]["val_size"],
            params["data"]["train_limit"],
            metrics["download"]["train_images"],
        ),
        "mixed": mixed(**params["train"]["mix"]),
        "calibrated": calibrated(metrics["evaluate"], params["data"]["val_size"]),
        "momentum": optimizer["momentum"],
        "nesterov": "Nesterov " if optimizer["nesterov"] else "",
        "weight_decay": optimizer["weight_decay"],
        "epochs": metrics["train"]["epochs"],
        "rate": rate_of(params["train"]["lr"], metrics["train"]["lr"]),
        "weights_are": what_weights(params["train"]["average"]),
        "sizes": sizes_of(params["train"]["resolution"]),
        "augment": ", ".join(name for entry in params["augment"] for name in entry),
        "top1": top1,
        "low": low,
        "high": high,
        "metrics": "\n".join(f"| {name} | {value:.4f} |" for name, value in rows),
    }
    return CARD.format(**values)
