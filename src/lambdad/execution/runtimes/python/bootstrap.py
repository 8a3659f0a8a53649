"""Starts the Python runtime when it is executed as a program: `python3.N /var/runtime/bootstrap.py`."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lambdad_runtime.main import main  # type: ignore[import-not-found]  # the package lies beside this file

if __name__ == "__main__":
    main()
