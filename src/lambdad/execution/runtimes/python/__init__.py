"""What is found under /var/runtime in a Python environment: our bootstrap, plain files for Python 3.8 and newer."""
