"""Train the network."""

from argparse import Namespace

from src.pipeline.params import Params
from src.pipeline.stage import Inputs, check_unchanged, run_stage, seconds_since_start


def main(args: Namespace, params: Params, inputs: Inputs) -> None:
    from src.data.batches import worker_count
    from src.data.training_data import read_training_data
    from src.device import machine, start, surroundings
    from src.network.resnet import build_model, save_weights, summary
    from src.pipeline.files import write_bytes, write_json
    from src.training.checkpoint import Checkpoint, fingerprint, only_trainer
    from src.training.fit import EpochLog, Settings, fit, metrics, read_rates, resolve_lr

    device, precision = start(params.train.precision, params.train.deterministic)
    data = read_training_data(args.data, args.report, params.data)
    found = read_rates(args.lr_find)
    model = build_model(params.model.arch, len(data.classes), params.seed)
    settings = Settings(
        resolve_lr(params.train, found), found["base_lr"], device, precision, worker_count(device)
    )

    about = machine(device, precision)
    run = fingerprint({**inputs, **about, **surroundings(device)})
    with only_trainer(args.resume):
        write_bytes(args.summary, summary(model).encode())
        checkpoint = Checkpoint(args.resume, run, params.train.checkpoint_seconds)
        log = EpochLog(args.history, args.log, run, seconds_since_start())
        history = fit(model, data, params, settings, checkpoint, log)
        # Before the result is written and the state goes: an edit that is taken back must not
        # cost the whole training.
        check_unchanged("train", inputs)
        save_weights(args.weights, model, {"arch": params.model.arch, **about})
        write_json(args.metrics, metrics(history, settings))
        checkpoint.remove()


if __name__ == "__main__":
    run_stage(
        "train", main,
        "data", "report", "lr-find", "weights", "metrics", "history", "summary", "resume", "log",
    )  # fmt: skip
