"""Options of the commands that talk to a cloud, and the settings that come of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from imgtool.cloud.settings import Settings

Command = TypeVar("Command", bound=Callable[..., Any])

_WHERE = (
    click.option("--region", metavar="NAME", help="Region of bucket and image."),
    click.option(
        "--cos-endpoint",
        metavar="HOST",
        help="What follows the bucket in an object's host name (private clouds).",
    ),
    click.option(
        "--cos-connect", metavar="HOST:PORT", help="Connect there instead of where the host name leads."
    ),
    click.option("--scheme", type=click.Choice(["https", "http"]), help="https by default."),
    click.option(
        "--ca-bundle", metavar="FILE", help="Certificates to trust, of a deployment with a CA of its own."
    ),
)
_RETRIES = (
    click.option("--retries", metavar="N", help="Try again so often what may be tried again; 5 by default."),
)
_S3 = (click.option("--s3-endpoint", metavar="URL", help="Where an S3 that is not AWS is."),)
_CVM = (click.option("--cvm-endpoint", metavar="HOST", help="Where the CVM API is."),)
_SPEED = (
    click.option("--part-size", metavar="SIZE", help="Of a part (8M); a good one for the file by default."),
    click.option("--limit-rate", metavar="RATE", help="Send at most so much: 10M/s, 100Mbps."),
)


def storage(command: Command) -> Command:
    """Where the storage is, and how fast to send."""
    return _added(command, _WHERE + _S3 + _SPEED + _RETRIES)


def api(command: Command) -> Command:
    """Where storage and API are."""
    return _added(command, _WHERE + _CVM + _RETRIES)


def everything(command: Command) -> Command:
    """Where storage and API are, and how fast to send."""
    return _added(command, _WHERE + _CVM + _SPEED + _RETRIES)


def _added(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def settings_of(given: dict[str, Any]) -> Settings:
    """The settings of this run. Raises UsageError."""
    from imgtool.cloud.settings import settings

    return settings(given)
