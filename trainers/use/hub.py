"""Uploading an export to the Hugging Face hub, by huggingface_hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from unbraid.datasets.errors import DataError
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.errors import ConfigError


def require_hub(repository: str) -> None:
    """Check, before anything is written, that the hub can be used.

    Raises:
        ConfigError: when the repository's name is none, huggingface_hub is missing, or there is no token.
    """
    if not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", repository):
        raise ConfigError(f"--push {repository}: expected OWNER/NAME, such as me/my-model")
    try:
        from huggingface_hub import get_token
    except ImportError:
        raise ConfigError("--push: huggingface_hub is missing; `pip install 'unbraid[hub]'`") from None
    if get_token() is None:
        raise ConfigError("--push: there is no token of the Hugging Face hub; set HF_TOKEN, or `hf auth login`")


def push_to_hub(folder: Path, repository: str, private: bool) -> str:
    """Upload a folder as a model of the hub, which is made where it is missing; returns its address.

    Raises:
        DataError: when the hub refuses it, or cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    of_client: Any = HfHubHTTPError.__mro__[1]  # the base of its HTTP client's errors, a connection's too; which client varies
    api = HfApi()
    try:
        address = str(api.create_repo(repository, private=private, exist_ok=True))
        api.upload_folder(folder_path=folder, repo_id=repository, commit_message="Export of unbraid")
    except (of_client, OSError) as error:
        raise DataError(f"--push {repository}: {in_one_line(error, 300)}") from None
    return address
