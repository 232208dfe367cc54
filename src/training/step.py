"""One training step: forward, loss, backward, update, and whether all of it was finite.

The learning rate is the only number that a step reads from the host, so a CUDA graph can capture
the step: the draw of a mixture stands in a tensor.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.data.normalize import Normalize, resize, to_device
from src.device import autocast
from src.training.average import Average
from src.training.mix import Mixture

# The loss scale starts at 65,536, and each overflow halves it; below this, training diverged.
MIN_SCALE = 1.0


class Step:
    """What the device does with a batch; the host does not wait for it.

    sums: (2,) loss without label smoothing and number of correct predictions since the last reset;
    done: the number of steps; first_bad: the first step whose update was skipped, or -1.
    """

    def __init__(
        self,
        model: nn.Module,
        normalize: Normalize,
        optimizer: torch.optim.SGD,
        label_smoothing: float,
        precision: str,
        mixture: Mixture | None = None,
        average: Average | None = None,
    ) -> None:
        self.model, self.normalize, self.optimizer = model, normalize, optimizer
        self.mixture, self.average = mixture, average
        self.label_smoothing, self.precision = label_smoothing, precision
        self.device = device = normalize.device
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.sums = torch.zeros(2, device=device)
        # Counted on the device, because a step must not wait for the host's count.
        self.done = torch.zeros((), dtype=torch.int64, device=device)
        self.first_bad = torch.full((), -1, dtype=torch.int64, device=device)

    def __call__(self, images: Tensor, labels: Tensor, side: int) -> None:
        """Train once on (B, 32, 32, 3) uint8 images, shrunk to `side` pixels, and (B,) labels."""
        targets = to_device(labels, self.device)
        inputs = self.normalize(images)
        if self.mixture is not None:
            inputs = self.mixture.images(inputs)
        inputs = resize(inputs, side)
        with autocast(self.precision, self.device):
            logits = self.model(inputs).float()
        entropy = partial(F.cross_entropy, logits, label_smoothing=self.label_smoothing)
        loss = self.score(entropy, targets)
        self.scaler.scale(loss).backward()
        bad = self.update(loss.detach())
        if self.average is not None:
            self.average.update(self.done)
        self.count(logits.detach(), targets, bad)

    def score(self, of: Callable[[Tensor], Tensor], targets: Tensor) -> Tensor:
        """A score of the batch, for the labels that its images have."""
        return of(targets) if self.mixture is None else self.mixture.score(of, targets)

    def update(self, loss: Tensor) -> Tensor:
        """Step the optimizer unless the loss or a gradient is not finite.

        Returns whether one is not finite.
        """
        if self.scaler.is_enabled():
            # fp16 gradients overflow now and then; the scaler skips those steps by itself.
            bad = ~torch.isfinite(loss)
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            bad = ~torch.isfinite(torch.nn.utils.get_total_norm(gradients) + loss)
            self.optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
            # On mps fused SGD ignores found_inf, so there the host waits and skips.
            if self.device.type != "mps" or not bad.item():
                self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return bad

    def count(self, logits: Tensor, targets: Tensor, bad: Tensor) -> None:
        # This loss has no smoothing, so that it can be compared with the validation loss.
        loss = self.score(partial(F.cross_entropy, logits, reduction="sum"), targets)
        correct = self.score(lambda of: (logits.argmax(1) == of).sum(), targets)
        self.sums += torch.stack([loss, correct])
        first = bad & (self.first_bad < 0)
        self.first_bad.copy_(torch.where(first, self.done, self.first_bad))
        self.done += 1

    def altered(self) -> list[Tensor]:
        """Every tensor that a step changes and the next step uses."""
        momentum = [self.optimizer.state[p]["momentum_buffer"] for p in self.model.parameters()]
        counts = [self.sums, self.first_bad, self.done]
        means = self.average.means if self.average is not None else []
        return [*self.model.parameters(), *self.model.buffers(), *momentum, *means, *counts]

    def diverged_at(self) -> int | None:
        """The first step that was not finite, or None. Waits for the device.

        Single overflows are usual in fp16. There training has diverged when the loss scale is
        below 1, and the answer is the last step.
        """
        step = int(self.first_bad.item())
        if step >= 0:
            return step
        if self.scaler.is_enabled() and self.scaler.get_scale() < MIN_SCALE:
            return int(self.done.item()) - 1
        return None
