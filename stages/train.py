"""Train the network."""

from src.pipeline import paths
from src.pipeline.params import Params
from src.pipeline.stage import Inputs, check_unchanged, recorded, run_stage, seconds_since_start


def main(params: Params, inputs: Inputs) -> None:
    from src.data.dataset import read_training_data
    from src.device import machine, surroundings
    from src.network.resnet import build_model
    from src.network.summary import summary as layers
    from src.network.weights import save_weights
    from src.pipeline.files import write_bytes, write_json
    from src.training.checkpoint import (
        Checkpoint,
        checkpoint_seconds,
        only_trainer,
        without_epochs,
    )
    from src.training.fit import fit
    from src.training.history import EpochLog, summary
    from src.training.schedule import read_rates, resolve_rates
    from src.training.settings import prepare

    settings = prepare(params.train, params.optimizer, params.augment, params.seed)
    data = read_training_data(paths.DATA, params.data)
    rates = resolve_rates(params.train, read_rates(paths.metrics("lr_find")))
    model = build_model(params.model.arch, len(data.classes), params.seed)
    # A state must not carry the name of inputs that it does not rest on.
    check_unchanged("train", inputs)
    about = machine(settings.device, settings.precision)
    around = surroundings(settings.device)
    decisive = without_epochs({**inputs, **about, **around}, params.train)
    with only_trainer(paths.RESUME):
        checkpoint = Checkpoint(paths.RESUME, decisive, checkpoint_seconds())
        checkpoint.drop_recorded(params.train.epochs, recorded("train", paths.WEIGHTS))
        write_bytes(paths.PLOTS / "model.txt", layers(model).encode())
        started = {"startup_seconds": seconds_since_start(), **about, **around}
        log = EpochLog(paths.HISTORY, paths.LOG, checkpoint.name, started)
        history = fit(model, data, settings, rates, checkpoint, log)
        # An edit during training: the result would belong to neither state of the code.
        check_unchanged("train", inputs)
        save_weights(paths.WEIGHTS, model, {"arch": params.model.arch, **data.traits(), **about})
        write_json(paths.metrics("train"), summary(history, rates.peak, settings.precision))
        checkpoint.finish(params.train.epochs, paths.WEIGHTS)


if __name__ == "__main__":
    run_stage("train", main)
