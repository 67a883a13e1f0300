"""Seeds that depend on what they are for, not on order, process or `hash()`."""

import hashlib


def derived_seed(*parts: object) -> int:
    """A 63-bit seed from all `parts`."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
