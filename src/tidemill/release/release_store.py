"""Release store of a project: releases are created, numbered, promoted and rolled back, each step one ledger entry.

The ledger records which release is champion, then `live.json` is updated. A crash between the two leaves a pointer that
is one promotion behind, which `recover` updates.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from tidemill.core.clock import Clock, to_micros
from tidemill.core.errors import (
    LedgerMoved,
    NoSuchRelease,
    ReleaseError,
    SignatureInvalid,
    UsageError,
    nearest,
)
from tidemill.core.identity.account import Account
from tidemill.core.identity.refs import Ref, parse_ref
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ports import Blobs, Lease
from tidemill.core.record_format import decode_record
from tidemill.core.records.deployment import Arm, Deployment, deploy
from tidemill.core.records.release import Card, Release, RuleSet
from tidemill.core.records.signature import Signature
from tidemill.core.storage.failpoint import failpoint
from tidemill.release.bundle import plain_name, seal_bundle, verify_bundle
from tidemill.release.gate import FurtherChecks, require_card, run_gate
from tidemill.release.live_deployment import blob_folder, promoted_models, read_deployment, write_deployment
from tidemill.release.release_history import Promotion, champion_stack, promotion_of


class Releases:
    """The releases of all models; `blobs` stores bundles, `serving_root` the pointers that servers read."""

    def __init__(self, blobs: Blobs, ledger: Ledger, serving_root: Path, clock: Clock) -> None:
        self._blobs = blobs
        self._ledger = ledger
        self._root = serving_root
        self._clock = clock
        #: Model -> the number of its last ledger entry that was read, and its releases up to that entry.
        self._known: dict[str, tuple[int, list[Release]]] = {}

    # ---- bundles

    def keep(self, folder: Path) -> str:
        """Seal a finished folder, move it into the blob store, and return its name; `folder` no longer exists then."""
        sha256 = seal_bundle(folder)
        self._blobs.put_folder(f"bundle:{sha256}", str(folder))
        failpoint("bundle.written")
        return sha256

    def drop(self, model: str, bundles: Sequence[str], why: str, lease: Lease | None = None) -> None:
        """Remove stored bundles of a model: write one ledger entry with their names, then remove the files.

        Their releases stay in the ledger and can no longer be served.
        """
        stored = sorted({f"bundle:{sha256}" for sha256 in bundles} & set(self._blobs.keys("bundle:")))
        if not stored:
            return
        names = [key.removeprefix("bundle:") for key in stored]
        mark = hashlib.sha256("\n".join(names).encode()).hexdigest()
        if not self._ledger.find("drop", about=f"model:{model}", fingerprint=mark):
            self._ledger.append(
                "drop",
                about=f"model:{model}",
                refs_in=[f"bundle:{model}@{name}" for name in names],
                fingerprint=mark,
                details={"why": why},
                lease=lease,
            )
        failpoint("drop.ledger")
        for key in stored:
            self._blobs.remove(key)

    def bundle(self, sha256: str) -> Path:
        """The folder of a stored bundle, after a comparison of its files with their hashes; else `BundleCorrupt`."""
        folder = self._folder(sha256)
        verify_bundle(folder, sha256)
        return folder

    def _folder(self, sha256: str) -> Path:
        return Path(blob_folder(self._blobs, f"bundle:{sha256}"))

    def modules(self, release: Release) -> Path | None:
        """The folder of a release's custom rule modules, if it has any."""
        return Path(blob_folder(self._blobs, f"modules:{release.modules}")) if release.modules else None

    def verify(self, release: Release, *, deep: bool = True) -> None:
        """Check that bundle and rule modules match the release; raises `BundleCorrupt` or `BundleRefused`."""
        verify_bundle(self._folder(release.bundle), release.bundle, deep=deep)
        modules = self.modules(release)
        if modules is not None:
            verify_bundle(modules, release.modules, deep=deep, holds="modules")

    # ---- releases

    def create(
        self,
        model: str,
        bundle: Path | str,
        rules: RuleSet,
        card: Card,
        *,
        facts: Mapping[str, tuple[str, ...]] | None = None,
        data: Mapping[str, int] | None = None,
        modules: Mapping[str, bytes] | None = None,
        code: str = "",
        commit: str | None = None,
        environment: str = "",
        log: Literal["available", "required"] = "available",
        signature: Signature | None = None,
        family: str = "",
        lease: Lease | None = None,
    ) -> Release:
        """Create the next release of `model` from a finished folder, or from the name of a stored bundle.

        `facts`: feature views and columns that the rules read; `data`: table versions that the bundle was trained on
        (by default the card's); `modules`: source of the project's functions by path; `signature`: fields of a model
        that predicts from a row; `family`: its model family. If an equal release exists, it is returned: a rerun
        creates no second release, and new rules on the same bundle cost one ledger entry. `CardIncomplete` unless the
        card states who is served and who could be harmed.
        """
        require_card(card)
        if parse_ref(f"{model}@0", "release").name != model:  # folders are named after it
            raise UsageError(f"{model!r} is not a valid model name", tip="use letters, digits and _, for example churn")
        sha256 = self.keep(bundle) if isinstance(bundle, Path) else bundle
        stored, hashes = self._keep_modules(modules or {})
        draft = Release(
            model=model, number=0, bundle=sha256, rules=rules, rule_modules=hashes, modules=stored,
            facts=dict(facts or {}), data=dict(card.data if data is None else data), code=code, commit=commit,
            environment=environment, card=card, created_at=0, log=log, signature=signature, family=family,
        )  # fmt: skip
        self.verify(draft)
        failpoint("release.written")
        return self._record(draft, lease)

    def _record(self, draft: Release, lease: Lease | None) -> Release:
        fingerprint = hashlib.sha256(msgspec.json.encode(draft, order="sorted")).hexdigest()
        while True:  # a training and a refresh may create releases concurrently: the ledger's order numbers them
            try:
                return self._numbered(draft, fingerprint, lease)
            except LedgerMoved:
                continue

    def _numbered(self, draft: Release, fingerprint: str, lease: Lease | None) -> Release:
        head = self._ledger.head().seq
        same = self._same(draft, fingerprint)
        if same is not None:
            return same
        last = self._ledger.last("release", f"model:{draft.model}")
        number = _from_line(last.details).number + 1 if last else 1
        release = msgspec.structs.replace(draft, number=number, created_at=to_micros(self._clock.now()))
        _refuse_unreadable(release)
        self._ledger.append(
            "release",
            about=f"model:{release.model}",
            refs_in=[f"bundle:{release.model}@{release.bundle}", *_table_refs(release.data)],
            refs_out=[str(_ref(release))],
            fingerprint=fingerprint,
            details={"release": release.json()},
            lease=lease,
            after=head,
        )
        failpoint("release.ledger")
        return release

    def _same(self, draft: Release, fingerprint: str) -> Release | None:
        """The first release that equals `draft`.

        A fingerprint of an older version covers fewer fields, so where no entry has this one, the records are compared.
        """
        about, find = f"model:{draft.model}", self._ledger.find
        entries = find("release", about=about, fingerprint=fingerprint) or find("release", about=about)
        releases = (_from_line(entry.details) for entry in entries)
        return next(
            (release for release in releases if msgspec.structs.replace(release, number=0, created_at=0) == draft), None
        )

    def _keep_modules(self, modules: Mapping[str, bytes]) -> tuple[str, dict[str, str]]:
        if not modules:
            return "", {}
        with tempfile.TemporaryDirectory(prefix="tidemill-modules-") as place:
            folder = Path(place) / "modules"
            for name, source in modules.items():
                file = folder / plain_name(folder, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(source)
            sha256 = seal_bundle(folder, holds="modules")
            files = verify_bundle(folder, sha256, holds="modules").files
            self._blobs.put_folder(f"modules:{sha256}", str(folder))
        return sha256, {name: file.sha256 for name, file in files.items()}

    def all(self, model: str) -> list[Release]:
        """The releases of a model, oldest first."""
        after, known = self._known.get(model, (0, []))
        for line in self._ledger.find("release", about=f"model:{model}", after=after):
            after, known = line.seq, [*known, _from_line(line.details)]
        self._known[model] = (after, known)
        return list(known)

    def models(self) -> list[str]:
        """Every model that has a release, sorted."""
        return sorted({line.about.removeprefix("model:") for line in self._ledger.find("release")})

    def get(self, ref: str) -> Release:
        """The release named `for_you@3` or `release:for_you@3`; `for_you@champion` is the ledger's champion."""
        wanted = parse_ref(ref, "release")
        releases = self.all(wanted.name)
        if wanted.version == "champion" and releases:
            champion = self.champion(wanted.name)
            if champion is None:
                raise NoSuchRelease(
                    f"no release of {wanted.name} has been promoted", tip=f"tidemill promote {releases[-1].name}"
                )
            return champion
        for release in releases:
            if str(release.number) == wanted.version:
                return release
        known = [release.name for release in releases] or self.models()
        raise NoSuchRelease(f"there is no release {ref!r}; {nearest(ref, known)}", tip="tidemill status")

    # ---- what is live

    def history(self, model: str) -> list[Promotion]:
        """All promotions and rollbacks of a model, oldest first."""
        return [promotion_of(line) for line in self._ledger.find("promote", about=f"model:{model}")]

    def last_promotion(self, model: str) -> Promotion | None:
        """The promotion or rollback that made the champion live."""
        line = self._ledger.last("promote", f"model:{model}")
        return promotion_of(line) if line else None

    def champion(self, model: str) -> Release | None:
        """The release that the last promotion or rollback made live."""
        last = self.last_promotion(model)
        return self.get(last.release) if last else None

    def promote(
        self,
        ref: str,
        lease: Lease | None = None,
        *,
        account: Account | None = None,
        further: FurtherChecks | None = None,
    ) -> Release:
        """Make a release champion: run the gate, write one ledger entry, then update the pointer.

        `account` acts, by default that of the ledger; `further` makes the checks of its model family. A check that
        fails raises `BundleCorrupt`, `BundleRefused` or `CardIncomplete`, and nothing changes. Promoting the champion
        again writes no entry, but corrects its pointer if needed.
        """
        return self._make_live(self.get(ref), "promote", lease, account, further)

    def rollback(self, model: str, lease: Lease | None = None, *, further: FurtherChecks | None = None) -> Release:
        """Make the previous champion live again, by the same gate; a second rollback goes back one more."""
        stack = champion_stack(self.history(model))
        if len(stack) < 2:
            raise NoSuchRelease(
                f"{model} has no previous champion: {stack[-1]} is the first one"
                if stack
                else f"{model} has no champion to roll back",
                tip="tidemill status",
            )
        return self._make_live(self.get(stack[-2]), "rollback", lease, None, further)

    def _make_live(
        self,
        release: Release,
        why: Literal["promote", "rollback"],
        lease: Lease | None,
        account: Account | None,
        further: FurtherChecks | None,
    ) -> Release:
        last = self.last_promotion(release.model)
        if last is not None and last.release == release.name:
            self.verify(release)
            self._point(last)
            return release
        before = self.get(last.release) if last else None
        gate = run_gate(release, before, lambda: self.verify(release), lambda: self._folder(release.bundle), further)
        if gate.error:
            raise gate.error
        line = self._ledger.append(
            "promote",
            about=f"model:{release.model}",
            refs_in=[str(_ref(before))] if before else [],
            refs_out=[str(_ref(release))],
            details={
                "from": before.name if before else "",
                "why": why,
                "deployment": deploy(Arm(release=release)).id,
                "verdict": gate.verdict.json(),
            },
            lease=lease,
            account=account,
        )
        failpoint("promote.ledger")
        self._point(promotion_of(line))
        failpoint("promote.pointer")
        return release

    def _point(self, promotion: Promotion) -> bool:
        """Set the pointer as a promotion made it; returns whether it has changed."""
        wanted = self._deployment(promotion)
        if not self._difference(wanted):
            return False
        write_deployment(self._root, wanted, self._ledger.keys)
        return True

    def _deployment(self, promotion: Promotion) -> Deployment:
        release = self.get(promotion.release)
        return deploy(Arm(release=release), entry=promotion.entry, entry_hash=promotion.entry_hash)

    def _difference(self, wanted: Deployment) -> str:
        """How the pointer of a model differs from the deployment of its champion; empty if it does not."""
        try:
            found = read_deployment(self._root, wanted.model, self._ledger.keys.public)
        except (ReleaseError, SignatureInvalid) as error:
            return error.message
        if found is None:
            return "it is missing"
        return "" if wanted.says_the_same(found) else f"it has entry {found.entry}, {found.champion.release.name}"

    def pointer_problems(self) -> list[str]:
        """A sentence for each pointer that differs from the ledger's champion, or whose model has none."""
        problems, here = [], promoted_models(self._root)
        for model in sorted({*self.models(), *here}):
            last = self.last_promotion(model)
            if last is not None and (says := self._difference(self._deployment(last))):
                problems.append(
                    f"{model}: the pointer is not that of {last.release}, which entry {last.entry} made live: {says}"
                )
            elif last is None and model in here:
                problems.append(f"{model}: there is a pointer, but the ledger has no promotion")
        return problems

    def recover(self, models: Sequence[str] | None = None) -> list[str]:
        """Set every pointer to the ledger's champion, after a crash, a restore or a move; returns a note per change.

        `models` are those whose leases the caller holds; by default all. None of them may be promoted at the same time.
        Where a champion's bundle fails verification, the pointer stays, so the last valid release stays live.
        """
        notes = []
        for model in self.models() if models is None else models:
            last = self.last_promotion(model)
            if last is None:
                continue
            champion = self.get(last.release)
            try:
                self.verify(champion, deep=False)
                if self._point(last):
                    notes.append(f"{model}: the pointer was set to {champion.name}, the champion in the ledger")
            except ReleaseError as error:
                notes.append(f"{model}: {champion.name} was left unchanged; {error.message}")
        return notes


def _refuse_unreadable(release: Release) -> None:
    # JSON has no infinities and NaN: a release that cannot be read back must not enter the ledger.
    try:
        _from_line({"release": release.json()})
    except msgspec.ValidationError as error:
        raise ReleaseError(f"{release.name} could not be read back from the ledger: {error}") from error


def _from_line(details: Mapping[str, object]) -> Release:
    return decode_record(str(details["release"]), Release)


def _ref(release: Release) -> Ref:
    return Ref("release", release.model, str(release.number))


def _table_refs(data: Mapping[str, int]) -> list[str]:
    return [str(Ref("table", table, str(version))) for table, version in sorted(data.items())]
