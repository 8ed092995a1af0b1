"""Signing secrets of endpoints: derived from the deployment's key and a random salt, and stored nowhere.

They sign, so that a hash would not do. A copy of the database alone signs nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

PREFIX = "whsec_"
SALT_BYTES = 24
_LABEL = b"webhook-secret"  # contact ids are hashes of another kind under the same key


def secret_of(key: bytes, endpoint_id: str, salt: bytes) -> str:
    """As the Standard Webhooks specification writes a secret: 32 bytes, Base64, after `whsec_`."""
    parts = (_LABEL, endpoint_id.encode(), salt)
    framed = b"".join(len(part).to_bytes(4) + part for part in parts)
    return PREFIX + base64.b64encode(hmac.new(key, framed, hashlib.sha256).digest()).decode()
