"""The training loop, to the bit the same however often it is interrupted."""

import errno
import time
from typing import Any

from torch import nn
from tqdm import tqdm

from src.data.dataset import TrainingData
from src.pipeline.command import PIPE_CLOSED, let_go_of_stdout
from src.pipeline.progress import hidden
from src.pipeline.stop import Stopped, StopRequest
from src.training.checkpoint import Checkpoint, State
from src.training.history import EpochLog, Row, epoch_line
from src.training.run import Run
from src.training.schedule import Rates
from src.training.settings import Settings

# The host waits for the device this often, to notice divergence.
STEPS_BETWEEN_CHECKS = 20


def fit(
    model: nn.Module,
    data: TrainingData,
    settings: Settings,
    rates: Rates,
    checkpoint: Checkpoint,
    on_epoch: EpochLog,
) -> list[Row]:
    """Train `model` in place, going on from the checkpoint where there is one.

    Returns a row an epoch. Raises Stopped on request or where stdout takes no more, after writing
    the checkpoint, and InputError where training diverges, leaving the last good checkpoint.
    """
    run = Run(model, data, settings, rates)
    restore(run, checkpoint, on_epoch)
    first = run.step, len(run.history)
    with StopRequest() as stop, progress(run) as bar:
        epoch = Epoch(run, stop, on_epoch)
        try:
            train(epoch, checkpoint, bar)
        except Stopped:
            run.check_finite()
            checkpoint.save(epoch.state())
            raise
    if (run.step, len(run.history)) != first:
        checkpoint.save(run.state())
    # With train.average the result is not the network that a longer run goes on with.
    model.load_state_dict(run.result.state_dict())
    return run.history


def restore(run: Run, checkpoint: Checkpoint, on_epoch: EpochLog) -> None:
    """Put a new run where its checkpoint left off."""
    state = checkpoint.load()
    if state is None:
        return
    step = state[1]["step"]
    if step > run.total_steps:
        print(
            f"note: {checkpoint.path} is at step {step:,}, beyond the {run.total_steps:,} of "
            "train.epochs; training begins anew",
            flush=True,
        )
        return
    run.restore(state)
    print(f"going on from step {step:,} of {run.total_steps:,}", flush=True)
    on_epoch.restore(run.history)


def train(epoch: "Epoch", checkpoint: Checkpoint, bar: "tqdm[Any]") -> None:
    """The steps that are still to come, with what belongs between them."""
    run = epoch.run
    # A stop during validation leaves a full epoch that is not closed.
    if run.epoch_is_full():
        epoch.close()
    if ended_early(run):
        return
    for images, labels in run.batches():
        run.train_step(images, labels)
        bar.update(len(images))
        if run.step % STEPS_BETWEEN_CHECKS == 0:
            run.check_finite()
        if run.epoch_is_full():
            epoch.close()
            if ended_early(run):
                return
        if checkpoint.due():
            run.check_finite()
            checkpoint.save(epoch.state())
        epoch.stop.check()


def ended_early(run: Run) -> bool:
    """Whether train.stop ends the training here, before its last step; then it is said."""
    if run.step == run.total_steps or not run.has_stalled():
        return False
    say(f"stopped early after epoch {len(run.history)}, as train.stop asks")
    return True


def say(line: str) -> None:
    """Print a line above the bar. Raises Stopped where nobody reads it or its disk is full."""
    try:
        tqdm.write(line)
    except OSError as error:
        let_go_of_stdout()
        reason = f"stopped because stdout cannot be written ({error.strerror})"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason += "; free some space"
        raise Stopped(reason, PIPE_CLOSED if error.errno == errno.EPIPE else 1) from error


class Epoch:
    """The clock of the epoch that is being trained, by one process or several in turn."""

    def __init__(self, run: Run, stop: StopRequest, on_epoch: EpochLog) -> None:
        self.run, self.stop, self.on_epoch = run, stop, on_epoch
        self.began = time.perf_counter() - run.spent

    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def state(self) -> State:
        """That of the run, with the time that its epoch has taken so far."""
        # Where only the validation is left to do, the steps took what `close` noted.
        if not self.run.epoch_is_full():
            self.run.spent = self.seconds()
        return self.run.state()

    def close(self) -> None:
        """Validate and report; the next epoch begins."""
        run, train = self.run, self.run.settings.train
        # Waits for the device: the steps that it still has to do are this epoch's.
        run.check_finite()
        run.spent = self.seconds()
        speed = run.per_epoch * train.batch_size / run.spent
        row = run.end_epoch(self.stop.check)
        seconds = self.seconds()
        self.on_epoch(run.history, {"seconds": seconds, "images_per_second": speed})
        run.spent, self.began = 0.0, time.perf_counter()
        say(epoch_line(row, train.epochs, seconds, speed))


def progress(run: Run) -> "tqdm[Any]":
    """A bar with images/s and the time left, on a terminal only."""
    batch_size = run.settings.train.batch_size
    return tqdm(
        total=run.total_steps * batch_size,
        initial=run.step * batch_size,
        unit="img",
        disable=hidden(),
        dynamic_ncols=True,
    )
