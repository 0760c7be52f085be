"""Deployment: the arms of a model on a server, each a release with its share of the requests.

A routing policy assigns a request to an arm; the common case is one arm called `champion` that gets all of them. A
deployment is one JSON file named by the hash of its content, so that a prediction names its deployment, its arm, the
policy and the probability (propensity) with which the policy chose that arm. An arm names its bundle by hash; the
folder comes from the blob store.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from tidemill.core.canonical import fingerprint
from tidemill.core.record_format import Record, SignedRecord, decode_record
from tidemill.core.records.release import Release

#: The routing policy of a deployment of one arm, and the name of that arm.
SINGLE, CHAMPION = "single", "champion"


class Assignment(msgspec.Struct, frozen=True):
    """Which arm of which deployment serves a request, and the probability with which the policy chose it."""

    deployment: str = ""
    arm: str = CHAMPION
    policy: str = SINGLE
    propensity: float = 1.0


class Arm(Record, frozen=True):
    """One release with its share of the requests."""

    release: Release = Release()
    name: str = CHAMPION
    #: From 0 to 1. A shadow arm also serves its share; its predictions are logged but not returned.
    share: float = 1.0
    shadow: bool = False

    @property
    def bundle(self) -> str:
        """Key of the bundle in the blob store."""
        return f"bundle:{self.release.bundle}"

    @property
    def modules(self) -> str | None:
        """Key of the release's custom rule modules in the blob store; `None` if all rules are built in."""
        return f"modules:{self.release.modules}" if self.release.modules else None


class Deployment(SignedRecord, frozen=True):
    """The live arms of a model, signed by the ledger's key. Format 1 was a pointer to one release."""

    KIND: ClassVar[str] = "deployment"
    REQUIRED: ClassVar[tuple[str, ...]] = ("arms",)

    format: int = 2
    #: Hash of policy, salt and arms: 16 hex digits.
    id: str = ""
    model: str = ""
    #: Id of the routing policy, and the salt of its hash of subjects; `single` needs none.
    policy: str = SINGLE
    salt: str = ""
    arms: tuple[Arm, ...] = ()
    #: Number of the ledger entry that made it live, with the gate's verdict and the account; 0 in older files.
    entry: int = 0
    #: The hash of that entry: a ledger without it was cut, or is an older copy.
    entry_hash: str = ""

    @classmethod
    def upgrade(cls, fields: dict[str, Any], found: int) -> dict[str, Any]:
        """Convert a pointer of format 1 to a deployment of one arm."""
        pointed = fields.get("release")
        if pointed is None:
            return fields
        release = decode_record(msgspec.json.encode(pointed), Release)
        made: dict[str, Any] = msgspec.to_builtins(deploy(Arm(release=release)))
        return made

    @property
    def champion(self) -> Arm:
        """The first arm."""
        return self.arms[0]

    def assignment(self, arm: Arm) -> Assignment:
        """The provenance that the predictions of an arm record."""
        return Assignment(self.id, arm.name, self.policy, arm.share)

    def says_the_same(self, other: Deployment | None) -> bool:
        """Whether `other` has the same releases in the same arms by the same ledger entry."""
        return other is not None and self == msgspec.structs.replace(other, signature=self.signature)


def deploy(*arms: Arm, policy: str = SINGLE, salt: str = "", entry: int = 0, entry_hash: str = "") -> Deployment:
    """The deployment of these arms, the champion first, that ledger entry `entry` made live; not signed yet.

    Raises `ValueError` for invalid arms or an invalid policy.
    The shares of all arms except shadows must add up to 1. A policy cannot be named `on` or `off`, because old logs
    have the state of the kill switch in that field.
    """
    if len({arm.release.model for arm in arms}) != 1 or len({arm.name for arm in arms}) != len(arms):
        raise ValueError("all arms of a deployment must be of one model and have different names")
    if abs(sum(arm.share for arm in arms if not arm.shadow) - 1.0) > 1e-9 or any(arm.share < 0 for arm in arms):
        raise ValueError("the shares of a deployment's arms must add up to 1")
    if policy in ("", "on", "off") or arms[0].shadow:
        raise ValueError(f"unknown policy {policy!r}, or the first arm is a shadow")
    about = [[arm.name, arm.release.name, arm.release.bundle, repr(arm.share), arm.shadow] for arm in arms]
    name = fingerprint({"policy": policy, "salt": salt, "arms": about})[:16]
    model = arms[0].release.model
    return Deployment(id=name, model=model, policy=policy, salt=salt, arms=arms, entry=entry, entry_hash=entry_hash)
