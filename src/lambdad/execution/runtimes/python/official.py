"""Starts AWS's own runtime client: `python3.N /var/runtime/official.py`. Modules are found in AWS's order."""

import importlib
import os
import sys


def main() -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    task = os.environ["LAMBDA_TASK_ROOT"]
    opt = os.environ.pop("_LAMBDAD_OPT", "/opt")
    version = "python%d.%d" % sys.version_info[:2]  # noqa: UP031 - also on old Pythons
    own = [path for path in sys.path if path not in (here, "")]
    sys.path[:] = [
        task,
        f"{opt}/python/lib/{version}/site-packages",
        f"{opt}/python",
        here,
        *own,
    ]
    client = importlib.import_module("awslambdaric.__main__")
    os.chdir(task)
    client.main([sys.argv[0], os.environ["_HANDLER"]])


if __name__ == "__main__":
    main()
