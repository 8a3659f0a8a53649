"""The options of `lambdad up` as click options, made from the table of settings; `doctor` takes the same."""

from __future__ import annotations

from collections.abc import Mapping

import click

from lambdad import config
from lambdad.config import OPTIONS, Option, Settings, SettingsError


def settings_options() -> list[click.Parameter]:
    """One click option for each setting; values stay text until `load_settings`."""
    return [_click_option(option) for option in OPTIONS]


def load_settings(given: Mapping[str, str | tuple[str, ...] | None]) -> Settings:
    """Settings from what click has parsed, by parameter name. A value that cannot be used is a usage error."""
    try:
        return config.load({name.replace("_", "-"): value for name, value in given.items()})
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def _click_option(option: Option) -> click.Option:
    return click.Option(
        [option.flag],
        metavar=option.metavar,
        multiple=option.repeatable,
        help=f"{option.help} [{option.variable}; default: {option.shown_default.replace('`', '')}]",
    )
