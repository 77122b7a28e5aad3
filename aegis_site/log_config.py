"""How every process of Aegis logs: one line an event on standard error, for people or as JSON."""

from typing import Any

import structlog

_SHARED_PROCESSORS = [
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def log_config(*, level: str, form: str) -> dict[str, Any]:
    """A `logging.config.dictConfig` document. `form` is `console` or `json`."""
    renderer = (
        structlog.processors.JSONRenderer()
        if form == "json"
        # Plain tracebacks: the pretty ones print local variables, which may hold secrets.
        else structlog.dev.ConsoleRenderer(
            colors=False, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
        )
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "aegis": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *([structlog.processors.format_exc_info] if form == "json" else []),
                    renderer,
                ],
                "foreign_pre_chain": _SHARED_PROCESSORS,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "aegis"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {"django.server": {"handlers": ["stderr"], "level": level, "propagate": False}},
    }
