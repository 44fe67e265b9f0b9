"""Which entities are looked at: decided by a hash of the entity, so that every side and every machine picks the same ones.

The trap: sampling *requests* at random on two sides at 1 % leaves 0.01 % that both have seen. A hash of the entity also brings all of
its requests, so that an older value of the same entity is at hand when a newer one looks stale.
"""

from __future__ import annotations

import hashlib

from mlops_obs.errors import SpecError

_ALL = 1 << 64


def sampled(entity: str, rate: float, salt: str = "") -> bool:
    """Return whether `entity` is in the sample of `rate` (0 to 1).

    The same answer in every process, on every machine and in every year. A larger rate holds the entities of a smaller one;
    another `salt` picks others.
    """
    digest = hashlib.blake2b(entity.encode("utf-8", "surrogatepass"), digest_size=8, key=salt.encode("utf-8", "surrogatepass")[:64])
    return int.from_bytes(digest.digest(), "big") < rate * _ALL


def checked_rate(rate: float) -> float:
    """Return `rate`.

    Raises:
        SpecError: OBS-SKW-001 if it is no share.
    """
    if not 0 <= rate <= 1:
        raise SpecError("OBS-SKW-001", f"a sampling rate of {rate}", todo="give the share of entities to look at, from 0 to 1")
    return rate
