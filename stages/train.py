"""Train the network."""

from src.pipeline import paths
from src.pipeline.params import Params
from src.pipeline.stage import Inputs, check_unchanged, run_stage, seconds_since_start


def main(params: Params, inputs: Inputs) -> None:
    from src.data.dataset import read_training_data
    from src.device import machine, surroundings
    from src.network.resnet import build_model
    from src.network.summary import summary as layers
    from src.network.weights import save_weights
    from src.pipeline.files import write_bytes, write_json
    from src.training.checkpoint import Checkpoint, checkpoint_seconds, fingerprint, only_trainer
    from src.training.fit import fit
    from src.training.history import EpochLog, summary
    from src.training.run import prepare
    from src.training.schedule import read_rates, resolve_rates

    settings = prepare(params.train, params.optimizer, params.augment, params.seed)
    data = read_training_data(paths.DATA, params.data)
    rates = resolve_rates(params.train, read_rates(paths.metrics("lr_find")))
    model = build_model(params.model.arch, len(data.classes), params.seed)

    about = machine(settings.device, settings.precision)
    around = surroundings(settings.device)
    run = fingerprint({**inputs, **about, **around})
    with only_trainer(paths.RESUME):
        write_bytes(paths.PLOTS / "model.txt", layers(model).encode())
        checkpoint = Checkpoint(paths.RESUME, run, checkpoint_seconds())
        started = {"startup_seconds": seconds_since_start(), **about, **around}
        log = EpochLog(paths.HISTORY, paths.LOG, run, started)
        history = fit(model, data, settings, rates, checkpoint, log)
        # Before the result is written and the state goes: an edit that is taken back must not
        # cost the whole training.
        check_unchanged("train", inputs)
        save_weights(paths.WEIGHTS, model, {"arch": params.model.arch, **about})
        result = summary(history, rates.peak, settings.precision)
        write_json(paths.metrics("train"), result)
        checkpoint.remove()


if __name__ == "__main__":
    run_stage("train", main)
