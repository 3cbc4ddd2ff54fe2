"""The environment variable that asks for log lines on stderr."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from embedlib.cli.logs import LEVEL_VARIABLE, LEVELS, show_logs
from embedlib.errors import ConfigError

LOGGER = logging.getLogger("embedlib")


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    handlers, level = list(LOGGER.handlers), LOGGER.level
    yield
    LOGGER.handlers[:] = handlers
    LOGGER.setLevel(level)


@pytest.mark.parametrize("asked", [*LEVELS, "INFO"])
def test_lines_from_the_level_on_go_to_stderr(
    asked: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(LEVEL_VARIABLE, asked)
    show_logs()
    for level in LEVELS:
        logging.getLogger("embedlib.run").log(logging.getLevelName(level.upper()), "n=%s", level)
    stdout, stderr = capsys.readouterr()
    said = [line.rpartition("=")[2] for line in stderr.splitlines()]
    assert said == list(LEVELS[LEVELS.index(asked.lower()) :])
    assert stdout == ""


def test_without_the_variable_logging_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LEVEL_VARIABLE, raising=False)
    before = list(LOGGER.handlers), LOGGER.level
    show_logs()
    assert (list(LOGGER.handlers), LOGGER.level) == before


def test_an_unknown_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LEVEL_VARIABLE, "loud")
    with pytest.raises(ConfigError, match="EMBEDLIB_LOG_LEVEL=loud is no level") as caught:
        show_logs()
    assert caught.value.fix == "choose from debug, info, warning, error"
