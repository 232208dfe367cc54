"""data.source names a source of the table, or is refused."""

from typing import Any

import pytest

from src.pipeline.errors import InputError
from src.pipeline.params import Data
from src.sources.table import SOURCES, load_source


def test_an_unknown_source_is_named_beside_those_that_there_are(values: dict[str, Any]) -> None:
    data = Data.model_validate(values["data"] | {"source": "cifar"})
    with pytest.raises(InputError) as raised:
        load_source(data)
    # With a source that is added in between, as CONTRIBUTING.md does.
    said = str(raised.value)
    assert said.startswith("data.source: 'cifar' is not one of cifar10, cifar100, folder, ")
    assert said.endswith("shapes (params.yaml)")


def test_a_source_gets_the_whole_section(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Data] = []
    monkeypatch.setitem(SOURCES, "mine", given.append)
    data = Data.model_validate(values["data"] | {"source": "mine"})
    load_source(data)
    assert given == [data]
