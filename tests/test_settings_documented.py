"""The options of `lambdad up`, their variables and docs/configuration.md say the same."""

from pathlib import Path

from lambdad import config
from lambdad.cli.up import command as up

DOCS = Path(__file__).parent.parent / "docs" / "configuration.md"


def test_every_option_of_up_comes_from_the_table():
    flags = [parameter.opts[0] for parameter in up.params]
    assert flags == [option.flag for option in config.OPTIONS]


def test_every_option_has_a_variable_of_its_own():
    variables = [option.variable for option in config.OPTIONS]
    assert len(set(variables)) == len(variables)
    assert all(variable.startswith("LAMBDAD_") for variable in variables)


def test_help_names_each_variable_and_default():
    import click

    text = " ".join(up.get_help(click.Context(up, terminal_width=200)).split())
    for option in config.OPTIONS:
        assert option.variable in text
        assert option.default in text


def test_every_default_can_be_parsed():
    for option in config.OPTIONS:
        if option.default:
            option.parse(option.default)


def test_the_docs_carry_the_table_as_it_is():
    # script/docs writes it anew after a change.
    assert config.options_table() in DOCS.read_text(encoding="utf-8")
