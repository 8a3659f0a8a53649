"""Terraform on a configuration of this folder, against a server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningServer, clean_environment, zipped

HERE = Path(__file__).parent
RUNTIME = f"python3.{sys.version_info.minor}"
TIMEOUT_S = 600
PROVIDER = "registry.terraform.io/hashicorp/aws"

CODE = """
import os
def handler(event, context):
    return {"greeting": os.environ.get("GREETING"), "event": event}
"""
FUNCTION = {"index.py": CODE}
LAYER = {"python/shared.py": "VALUE = 1\n"}


class Terraform:
    """One configuration in a folder of its own. Nothing is downloaded: the provider comes from a folder of plugins."""

    def __init__(self, configuration: str, folder: Path, server: RunningServer) -> None:
        if shutil.which("terraform") is None:
            pytest.skip("NOT TESTED WITH TERRAFORM: there is no terraform on PATH.")
        self._plugins = plugins()
        if self._plugins is None:
            pytest.skip(
                f"NOT TESTED WITH TERRAFORM: no folder of plugins has {PROVIDER} 5.x. `terraform providers mirror DIR` "
                "makes one; name it in TERRAFORM_PLUGINS."
            )
        self.folder = folder
        shutil.copytree(HERE / configuration, folder, dirs_exist_ok=True)
        shutil.copy(HERE / "provider.tf", folder)
        (folder / "function.zip").write_bytes(zipped(FUNCTION))
        (folder / "layer.zip").write_bytes(zipped(LAYER))
        self._environ = clean_environment() | {
            "CHECKPOINT_DISABLE": "1",
            "TF_CLI_CONFIG_FILE": os.devnull,
            "TF_IN_AUTOMATION": "1",
            "TF_VAR_endpoint": server.endpoint,
            "TF_VAR_runtime": RUNTIME,
        }

    def apply(self) -> None:
        self._run("init", "-input=false", f"-plugin-dir={self._plugins}")
        self._run("apply", "-input=false", "-auto-approve")

    def changes(self) -> str:
        """What a second plan would change; empty if nothing, as it has to be."""
        status, output = self._status("plan", "-input=false", "-detailed-exitcode")
        assert status in (0, 2), output
        return output if status else ""

    def destroy(self) -> None:
        self._run("destroy", "-input=false", "-auto-approve")

    def outputs(self) -> dict[str, Any]:
        return {name: one["value"] for name, one in json.loads(self._run("output", "-json")).items()}

    def _run(self, *arguments: str) -> str:
        status, output = self._status(*arguments)
        assert status == 0, output
        return output

    def _status(self, command: str, *arguments: str) -> tuple[int, str]:
        ran = subprocess.run(
            ["terraform", command, "-no-color", *arguments],
            cwd=self.folder,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return ran.returncode, ran.stdout


def plugins() -> Path | None:
    """The folder of plugins with the provider: the one named, Terraform's own places, and mirrors below /opt."""
    named = os.environ.get("TERRAFORM_PLUGINS")
    places = [
        *([Path(named)] if named else []),
        Path.home() / ".terraform.d" / "plugins",
        Path("/usr/local/share/terraform/plugins"),
        Path("/usr/share/terraform/plugins"),
        *sorted(Path("/opt").glob("*")),
    ]
    return next((place for place in places if any(place.glob(f"{PROVIDER}/5.*"))), None)
