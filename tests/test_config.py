"""Settings: where a value comes from, and what is said about a value that cannot be used."""

import sys
from pathlib import Path

import pytest

from lambdad import config
from lambdad.config import Isolation, SettingsError, load


def test_defaults_serve_this_machine_only():
    settings = load({}, {"HOME": "/home/ada"})
    assert (settings.host, settings.port, settings.auth) == ("127.0.0.1", 4566, "dev")
    assert settings.data == Path("/home/ada/.local/share/lambdad")
    assert settings.isolation == Isolation(highest="auto", required_tier=0)
    assert settings.account_concurrency == 1000
    assert settings.hostnames == ()


def test_an_option_wins_over_its_variable_and_a_variable_over_the_default():
    environ = {"LAMBDAD_PORT": "5000", "LAMBDAD_IDLE_TIMEOUT": "1.5"}
    settings = load({"port": "6000"}, environ)
    assert (settings.port, settings.idle_timeout_s) == (6000, 1.5)


def test_empty_variables_and_options_left_out_count_as_not_given():
    assert load({"port": None, "hostname": ()}, {"LAMBDAD_PORT": "", "LAMBDAD_HOSTNAME": ""}).port == 4566


def test_repeatable_options_take_lists_from_their_variable():
    environ = {"LAMBDAD_HOSTNAME": "Lambda.example.org, *.fn.example.org"}
    assert load({}, environ).hostnames == ("lambda.example.org", "*.fn.example.org")
    assert load({"hostname": ("a", "b")}, environ).hostnames == ("a", "b")


def test_interpreters_are_kept_by_version():
    assert load({"python": (f"3.12={sys.executable}",)}, {}).pythons == {"3.12": sys.executable}


@pytest.mark.parametrize(
    ("host", "auth"),
    [
        ("127.0.0.1", "dev"),
        ("127.0.9.9", "dev"),
        ("::1", "dev"),
        ("localhost", "dev"),
        ("0.0.0.0", "strict"),
        ("::", "strict"),
        ("10.0.0.7", "strict"),
        ("build.example.org", "strict"),
    ],
)
def test_access_is_strict_by_default_wherever_others_can_connect(host: str, auth: str):
    assert load({"host": host}, {}).auth == auth


def test_access_can_be_chosen_for_any_address():
    assert load({"host": "0.0.0.0", "auth": "dev"}, {}).auth == "dev"
    assert load({"auth": "strict"}, {}).auth == "strict"


@pytest.mark.parametrize(
    ("text", "isolation"),
    [
        ("auto", Isolation()),
        ("off", Isolation(highest="off")),
        ("T0", Isolation(highest="off")),
        ("T1", Isolation(highest="T1", required_tier=1)),
        ("t3", Isolation(highest="T3", required_tier=3)),
        ("require=T2", Isolation(required_tier=2)),
        ("require=t3", Isolation(required_tier=3)),
    ],
)
def test_isolation_is_read(text: str, isolation: Isolation):
    assert load({"isolation": text}, {}).isolation == isolation


def test_the_data_folder_follows_xdg_and_ignores_relative_bases():
    assert config.default_data_folder({"XDG_DATA_HOME": "/srv/data"}) == Path("/srv/data/lambdad")
    assert config.default_data_folder({"XDG_DATA_HOME": "data", "HOME": "/h"}) == Path("/h/.local/share/lambdad")


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        ("port", "65536", "from 1 to 65535"),
        ("port", "-1", "from 1 to 65535"),
        ("port", "tcp://10.0.0.1:80", "from 1 to 65535"),
        ("port", "", "from 1 to 65535"),
        ("host", "http://x", "an address"),
        ("hostname", "http://x", "without scheme"),
        ("data", "", "a folder"),
        ("database", "postgresql://db/lambdad", "PostgreSQL is not supported by this version"),
        ("database", "mysql://db", "sqlite"),
        ("auth", "none", "auto or dev or strict"),
        ("region", "Frankfurt", "us-east-1"),
        ("isolation", "require=T4", "require=T1"),
        ("zygote", "yes", "on or off"),
        ("python", "3.12", "VERSION=PATH"),
        ("python", "3.12=/nowhere/python", "/nowhere/python is none"),
        ("node", "v22=/usr/bin/node", "VERSION=PATH"),
        ("account-concurrency", "0", "from 1"),
        ("idle-timeout", "0", "above 0"),
        ("idle-timeout", "nan", "above 0"),
        ("log-level", "trace", "debug or info"),
    ],
)
def test_a_refused_value_is_named_with_what_to_write(name: str, text: str, hint: str):
    with pytest.raises(SettingsError) as refused:
        load({name: text}, {})
    assert f"--{name} is {text!r}" in str(refused.value)
    assert hint in str(refused.value)


def test_a_refused_variable_is_named_by_its_own_name():
    with pytest.raises(SettingsError, match="LAMBDAD_PORT is 'http', but must be a port"):
        load({}, {"LAMBDAD_PORT": "http"})


def test_variables_that_are_no_settings_are_found():
    assert config.unknown_variables({"LAMBDAD_PROT": "1", "LAMBDAD_PORT": "2", "HOME": "/"}) == ["LAMBDAD_PROT"]


# --- targets outside of the server ---


def test_targets_are_kept_by_pattern():
    environ = {"LAMBDAD_TARGET": "sqs=http://q:9324, arn:aws:sns:*:111111111111:*=aws"}
    assert load({}, environ).targets == {"sqs": "http://q:9324", "arn:aws:sns:*:111111111111:*": "aws"}
    assert load({}, {}).targets == {}


def test_variables_of_aws_name_endpoints_of_services_and_rules_win():
    environ = {
        "AWS_ENDPOINT_URL_SQS": "http://q:9324",
        "AWS_ENDPOINT_URL_EVENTBRIDGE": "https://e",
        "AWS_ENDPOINT_URL_S3": "http://s3",
        "AWS_ENDPOINT_URL": "http://everything",
    }
    assert load({"target": ("s3=aws",)}, environ).targets == {
        "sqs": "http://q:9324",
        "events": "https://e",
        "s3": "aws",
    }
    assert load({}, {"AWS_ENDPOINT_URL_EVENTS": "https://e"}).targets == {"events": "https://e"}
    streams = {"AWS_ENDPOINT_URL_DYNAMODB": "https://d", "AWS_ENDPOINT_URL_KINESIS": "https://k"}
    assert load({}, streams).targets == {"dynamodb": "https://d", "kinesis": "https://k"}
    both = streams | {"AWS_ENDPOINT_URL_DYNAMODB_STREAMS": "https://ds"}
    assert load({}, both).targets == {"dynamodb": "https://ds", "kinesis": "https://k"}
    assert load({}, environ | {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}).targets == {}


@pytest.mark.parametrize("url", ["http://127.0.0.1:4566", "http://localhost:4566/"])
def test_variables_that_lead_clients_to_this_very_server_are_no_rules(url: str):
    assert load({}, {"AWS_ENDPOINT_URL_LAMBDA": url}).targets == {}
    assert load({"port": "4567"}, {"AWS_ENDPOINT_URL_LAMBDA": url}).targets == {"lambda": url}


@pytest.mark.parametrize("text", ["sqs", "sqs=", "sqs=q:9324", "dynamo=aws", "arn:aws:sqs=aws", "sqs=http://q:x"])
def test_targets_that_cannot_be(text: str):
    with pytest.raises(SettingsError, match=r"--target is .* PATTERN=ENDPOINT"):
        load({"target": (text,)}, {})


def test_an_endpoint_variable_that_is_no_url_is_named():
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL_SQS is 'q'"):
        load({}, {"AWS_ENDPOINT_URL_SQS": "q"})
