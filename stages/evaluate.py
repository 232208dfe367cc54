"""Test the network: accuracy, calibration, every class."""

from src.pipeline import paths
from src.pipeline.params import Params
from src.pipeline.stage import Inputs, run_stage


def main(params: Params, _: Inputs) -> None:
    import torch

    from src.data.dataset import read_split, read_training_data
    from src.data.tensors import save_tensors
    from src.evaluation.corruptions import CorruptionRow, robustness
    from src.evaluation.metrics import evaluate, headline, tables
    from src.evaluation.predict import held_out_temperature, predict
    from src.figures.results import draw_results
    from src.figures.training import draw_training
    from src.network.weights import load_trained
    from src.pipeline.errors import remake
    from src.pipeline.files import read_json, read_numbers, sha256_file, write_csv, write_json

    data = read_training_data(paths.DATA, params.data)
    test = read_split(paths.DATA, "test")
    trained = load_trained(paths.WEIGHTS, len(data.classes), data.mean, data.std)
    logits, labels = predict(trained, test), torch.from_numpy(test.labels)
    temperature = held_out_temperature(trained, data.validation)
    tta: str = params.evaluate.tta
    augmented = {} if tta == "none" else {tta: predict(trained, test, tta)}
    result = evaluate(logits, labels, data.classes, temperature, augmented)
    corruptions = robustness(trained, test, params.evaluate.corruptions)

    about = {"weights": sha256_file(paths.WEIGHTS), "temperature": temperature}
    save_tensors(paths.LOGITS, {"logits": logits}, about)
    plots = paths.PLOTS
    for name, table in tables(result, logits, labels, data.classes).items():
        write_csv(plots / f"{name}.csv", *table)
    write_csv(plots / "corruptions.csv", CorruptionRow._fields, corruptions)
    history = read_numbers(paths.HISTORY, remake("train"))
    lr = read_json(paths.metrics("train"), remake("train"))["lr"]
    found = read_json(paths.metrics("lr_find"), remake("lr_find"))
    draw_training(plots / "training.png", history, lr, found)
    draw_results(plots, result, corruptions)
    write_json(paths.metrics("evaluate"), result.metrics)
    print(headline(result))


if __name__ == "__main__":
    run_stage("evaluate", main)
