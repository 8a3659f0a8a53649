"""boto3's service models, read in the zygote: reading one takes longer than all else that a first client costs.

Each parsed file is handed out once in each environment, to whoever would have read it first, and the next reader reads
the file itself. So no two sessions share an object that they would not have shared, and nothing that depends on keys,
region, settings or search paths is kept across the fork.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

SERVICES = (
    "s3",
    "dynamodb",
    "sqs",
    "sns",
    "lambda",
    "sts",
    "secretsmanager",
    "events",
    "stepfunctions",
)
"""What functions call most, as far as it is small: together some 20 MB that all environments share."""
_COMMON = ("endpoints", "partitions", "_retry", "sdk-default-configuration")
_TYPES = ("service-2", "endpoint-rule-set-1")
_LATE_MODULES = (
    "boto3.dynamodb.transform",
    "boto3.ec2.createtags",
    "boto3.s3.inject",
    "boto3.s3.transfer",
    "botocore.docs",
    "botocore.retries.standard",
    "s3transfer.manager",
    "s3transfer.subscribers",
)
"""What is imported by the first client or its first call, not by `import boto3`."""


def preload() -> None:
    """Reads the models and makes botocore's file loader hand them out. Without botocore's insides as expected here,
    everything is left as it is."""
    for name in _LATE_MODULES:
        try:
            __import__(name)
        except ImportError:
            continue
    try:
        loaders: Any = importlib.import_module("botocore.loaders")  # of the zygote's interpreter
        loader = loaders.Loader()
        files = loaders.JSONFileLoader()
        places = [os.path.join(loader.BUILTIN_DATA_PATH, name) for name in _COMMON]
        for service in SERVICES:
            version = loader.determine_latest_version(service, "service-2")
            places += [os.path.join(loader.BUILTIN_DATA_PATH, service, version, kind) for kind in _TYPES]
        read = {place: files.load_file(place) for place in places}
        load_file = loaders.JSONFileLoader.load_file
    except Exception:
        return

    def load_once(self: Any, file_path: str) -> Any:
        found = read.pop(file_path, None)
        return load_file(self, file_path) if found is None else found

    loaders.JSONFileLoader.load_file = load_once
