"""Validation: the mean over images."""

import pytest
import torch
import torch.nn.functional as F

from src.data.normalize import Normalize
from src.pipeline.errors import InputError
from src.training.validation import validate
from tests.conftest import tiny_data
from tests.tiny import CPU, NoMemory, TinyNet


def test_images_too_many_for_the_memory_are_named() -> None:
    data = tiny_data()
    assert data.validation is not None
    normalize = Normalize(data.mean, data.std, CPU)
    with pytest.raises(InputError, match=r"^validation on 40 images at a time does not fit the de"):
        validate(NoMemory(), data.validation, normalize, "fp32", 32, lambda: None)


def test_validation_is_the_mean_over_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the last batch is a short one."""
    monkeypatch.setattr("src.data.normalize.EVAL_BATCH", 24)
    data, model = tiny_data(), TinyNet()
    assert data.validation is not None
    assert len(data.validation) == 40
    normalize = Normalize(data.mean, data.std, CPU)
    found = validate(model, data.validation, normalize, "fp32", 32, lambda: None)
    labels = torch.from_numpy(data.validation.labels)
    with torch.no_grad():
        logits = model.eval()(normalize(torch.from_numpy(data.validation.images)))
    right = (logits.argmax(1) == labels).double().mean().item()
    assert found == pytest.approx((F.cross_entropy(logits, labels).item(), right), rel=1e-5)
