"""What no CUDA graph can repeat is refused in a sentence; this needs no GPU."""

import pytest
import torch

from src.pipeline.errors import InputError
from src.training.cuda_graph import check_in_place, faults_of_recording


def test_a_tensor_in_another_s_place_is_refused() -> None:
    kept, replaced = torch.zeros(3), torch.zeros(3)
    check_in_place([kept, replaced], [kept.detach(), replaced.add_(1)])
    with pytest.raises(InputError, match=r"^model\.arch: the network assigns a buffer anew in its"):
        check_in_place([kept, replaced], [kept, 0.9 * replaced])


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: operation not permitted when stream is capturing",
        "CUDA error: operation failed due to a previous error during capture",
        "Cannot copy between CPU and CUDA tensors during CUDA graph capture",
    ],
)
def test_a_step_that_waits_for_the_device_is_refused(words: str) -> None:
    sentence = r"^model\.arch: the network waits for the GPU .* set train\.precision to fp16"
    with pytest.raises(InputError, match=sentence), faults_of_recording():
        raise RuntimeError(words)


@pytest.mark.parametrize("words", ["no kernel", "generator is not in capture mode"])
def test_another_fault_is_left_as_it_is(words: str) -> None:
    with pytest.raises(RuntimeError, match=f"^{words}$"), faults_of_recording():
        raise RuntimeError(words)
