"""The code that a waiting machine shows on its terminal, and that the admin's page shows beside its name.

The client has the same function (`fl_client.identity.short_code`); a test holds them equal.
"""

import base64
import binascii
from hashlib import sha256

# Crockford's digits, without those that look alike.
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def of(public_pem: str) -> str:
    """Forty bits of the fingerprint of a public key, as XXXX-XXXX; empty for what is no key."""
    lines = [line for line in public_pem.splitlines() if not line.startswith("-----")]
    try:
        key = base64.b64decode("".join(lines), validate=True)
    except (binascii.Error, ValueError):
        return ""
    bits = int.from_bytes(sha256(key).digest()[:5], "big")
    text = "".join(LETTERS[bits >> shift & 31] for shift in range(35, -1, -5))
    return f"{text[:4]}-{text[4:]}"
