"""SGD's groups: what is decayed, and that all have one rate."""

import torch

from src.network.resnet import build_model
from src.pipeline.params import Optimizer, Params
from src.training.optimizer import make_optimizer
from tests.tiny import new_run, params

SETTINGS = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}


def test_without_decay_norm_only_kernels_and_the_last_layers_weights_decay() -> None:
    model = build_model("resnet18", 10)
    optimizer = make_optimizer(model, Optimizer(**SETTINGS, decay_norm=False), 0.1)
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups
              for p in group["params"]}  # fmt: skip
    small = {"bias"} | {f"bn{place}.weight" for place in (1, 2)} | {"1.weight"}
    for name, parameter in model.named_parameters():
        is_small = any(name.endswith(f".{end}") or name == end for end in small)
        assert decays[id(parameter)] == (0.0 if is_small else 0.1), name


def test_a_zero_gradient_shows_what_decays() -> None:
    for decay_norm, shrinks in ((True, True), (False, False)):
        model = build_model("resnet18", 10)
        optimizer = make_optimizer(model, Optimizer(**SETTINGS, decay_norm=decay_norm), 0.1)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        assert bool((model.bn1.weight < 1).all()) == shrinks


def test_all_groups_follow_the_schedule() -> None:
    for schedule in ("plateau", "one_cycle", "cyclic", "cosine"):
        values = params(schedule=schedule, epochs=1).model_dump()
        values["optimizer"]["decay_norm"] = False
        run, seen = new_run(Params.model_validate(values), 0.1), set()
        for images, labels in run.batches():
            run.train_step(images, labels)
            first, second = (group["lr"] for group in run.optimizer.param_groups)
            assert first == second
            seen.add(first)
        assert len(seen) > 1 or schedule == "plateau"
