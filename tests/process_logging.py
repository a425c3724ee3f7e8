"""The logging of the process, which every test that configures it has to give back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from daemon.log import LIBRARIES


@contextmanager
def logging_restored() -> Iterator[None]:
    """Undo what configuring the log changes for the whole process."""
    loggers = [logging.getLogger(), *map(logging.getLogger, LIBRARIES)]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    try:
        yield
    finally:
        structlog.reset_defaults()
        logging.captureWarnings(capture=False)
        logging.getLogger("aiohttp.access").disabled = False
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers
