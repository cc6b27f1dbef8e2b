"""All that is used of huggingface_hub, imported here alone; a setting it cannot read is told in our words."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

from localmag.errors import bad_hub_setting

try:
    # The package prints, to stdout, which of its lazy imports failed.
    with redirect_stdout(io.StringIO()):
        from huggingface_hub import ModelInfo, constants, get_session, hf_hub_url, hf_raise_for_status
        from huggingface_hub.errors import (
            GatedRepoError,
            HfHubHTTPError,
            HFValidationError,
            OfflineModeIsEnabled,
            RemoteEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
        from huggingface_hub.file_download import are_symlinks_supported
        from huggingface_hub.utils import (  # type: ignore[attr-defined]  # it loads lazily
            WeakFileLock,
            build_hf_headers,
            validate_repo_id,
        )
except ValueError as exc:  # of the environment: HF_HUB_DOWNLOAD_TIMEOUT=soon, or a port beyond 65535
    raise bad_hub_setting(exc) from exc

__all__ = [
    "GatedRepoError",
    "HFValidationError",
    "HfHubHTTPError",
    "ModelInfo",
    "OfflineModeIsEnabled",
    "RemoteEntryNotFoundError",
    "RepositoryNotFoundError",
    "RevisionNotFoundError",
    "WeakFileLock",
    "are_symlinks_supported",
    "build_hf_headers",
    "constants",
    "get_session",
    "hf_hub_url",
    "hf_raise_for_status",
    "validate_repo_id",
]
