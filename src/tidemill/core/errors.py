"""Errors: one tree. Each has a message, a code that `tidemill help CODE` explains, and the next command to type.

    TidemillError
    ├── UsageError        TM0xx  settings, arguments, the project file's place
    ├── GraphError        TM1xx  names, cycles and types in mill.py
    ├── SourceError       TM2xx  files and streams that cannot be read
    ├── LakeError         TM3xx  versions, files and increments
    ├── CheckError        TM4xx  expectations that cannot be evaluated
    ├── LearnError        TM5xx  training, evaluation, the index
    ├── ReleaseError      TM6xx  bundles, cards, promotion
    ├── ServeError        TM7xx  the server and its requests
    ├── LedgerError       TM8xx  the ledger, its keys and its leases
    └── AccessError       TM9xx  access control

Each leaf is also the matching builtin, so that `except FileNotFoundError` works for those who do not know this file.
Errors contain no HTTP status and no exit status: the server and the command line map them.
A leaf's docstring is what `tidemill help` prints, so it states the cause and the remedy.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tidemill.core.redaction import redact


class TidemillError(Exception):
    """Any error of tidemill: an invalid request, or an operation that failed."""

    code = "TM000"

    def __init__(self, message: str, *, tip: str | None = None) -> None:
        self.message = redact(message)
        self.tip = redact(tip) if tip else tip
        super().__init__(self.message)

    def __str__(self) -> str:
        text = f"{self.message} [{self.code}]"
        return f"{text}\n  tip: {self.tip}" if self.tip else text


def message_of(error: BaseException) -> str:
    """The message of any error, without secrets; of another library's with its type."""
    return error.message if isinstance(error, TidemillError) else redact(f"{type(error).__name__}: {error}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that suggests the closest known name, or lists all of them.

    >>> nearest("rating", ["ratings", "items"])
    'did you mean `ratings`?'
    >>> nearest("zzz", ["ratings", "items"])
    'known: items, ratings'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known: {', '.join(names)}" if names else "none exist yet"


def near_file(path: Path) -> str:
    """`: did you mean `PATH`?` for a missing file whose name is like one in its folder; else empty."""
    try:
        names = [one.name for one in path.parent.iterdir() if one.is_file()]
    except OSError:
        return f": there is no folder {path.parent}"
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f": did you mean `{path.parent / close[0]}`?" if close else ""


class UsageError(TidemillError):
    """A setting, an argument or a path is not valid."""

    code = "TM001"


class SettingError(UsageError, ValueError):
    """A setting has an unknown name or an invalid value.

    `tidemill status --settings` shows every setting, its value and the origin of the value.
    """

    code = "TM002"


class ProjectMissing(UsageError, FileNotFoundError):
    """No mill.py was found in this folder or above it.

    Change into the project's folder, name it with `--project DIR`, or create one with `tidemill init NAME`.
    """

    code = "TM003"


class BackendMissing(UsageError, ImportError):
    """A back-end or an optional library that a setting requires is not installed.

    The message names the extra to install, for example `pip install 'tidemill[spark]'`.
    """

    code = "TM004"


class PlaceRefused(UsageError, OSError):
    """A file or an object of a store could not be read or written: disk full, permission denied, a limit, no answer.

    Fix the problem at the path in the message, then run the same command again: completed work is kept, incomplete
    work is repeated, and the previous version stays readable. `tidemill doctor` shows the free space.
    """

    code = "TM005"


class ProcessFailed(UsageError, RuntimeError):
    """A child process could not start, took too long, or ended without a result.

    The message has the exit status and the last line of its error output. Functions that run in worker processes must
    be defined at module level, and a script that starts them must do so under `if __name__ == "__main__":`.
    """

    code = "TM006"


class LimitReached(UsageError, OSError):
    """Memory or file handles ran out: a limit of this process, of its container or of the machine.

    Raise the limit (`ulimit -a` shows them) and run the same command again: completed work is kept.
    """

    code = "TM007"


class LibraryFailed(UsageError, RuntimeError):
    """A library on which tidemill builds failed in a way that it does not foresee.

    Run the command again. If it fails again, report it with the whole traceback: the option `--trace` in
    front of the command shows it.
    """

    code = "TM008"


class GraphError(TidemillError):
    """The project file does not declare a valid graph."""

    code = "TM100"


class UnknownName(GraphError, LookupError):
    """The name of a parameter, a column or a model does not exist.

    Parameters of table and feature functions must be the names of streams, snapshots or tables.
    """

    code = "TM101"


class GraphCycle(GraphError, ValueError):
    """Tables depend on each other in a cycle, so none of them can be computed first."""

    code = "TM102"


class TypeMismatch(GraphError, TypeError):
    """A column or a parameter has the wrong type for its use."""

    code = "TM103"


class FunctionFailed(GraphError, RuntimeError):
    """A table or feature function of mill.py passed the dry run on empty tables and failed on new rows.

    If a table function failed, its increment was not published. If a feature function failed, the tables are published
    and its view is unchanged. Fix the function, or the rows at their source, and run again.
    """

    code = "TM105"


class RowsLost(GraphError, RuntimeError):
    """A join of features lost or duplicated rows of the examples, so its result is not used.

    This is a bug of tidemill or of the engine; no stored rows are lost. Please report it with the view's function.
    """

    code = "TM106"


class SourceError(TidemillError):
    """A source could not be read."""

    code = "TM200"


class SourceMissing(SourceError, FileNotFoundError):
    """A source's file, folder or pattern matches no existing file.

    Paths are relative to the folder of the project file.
    """

    code = "TM201"


class SchemaChanged(SourceError, ValueError):
    """A source's columns differ from its contract in name, type or number.

    No rows of the file were ingested. Fix the producer, or change the contract in mill.py together with the column
    mapping in the settings, and run again.
    """

    code = "TM202"


class SourceDamaged(SourceError, OSError):
    """A source's file is truncated or fails its checksum, so no rows of it were ingested.

    If it is still being written, run again when it is complete. Otherwise deliver it again or move it away.
    """

    code = "TM203"


class SourceUnknown(SourceError, ValueError):
    """A source's file has a format, or columns, that tidemill cannot detect.

    List its columns in the settings, for example `?columns=item_id,user_id,rating,reviewed_at:unix_s`.
    """

    code = "TM204"


class ExternalMissing(SourceError, FileNotFoundError):
    """An external table has no place, or there is no such table at its place.

    Write its place under `[PROFILE.external]` in tidemill.toml, for example `ratings = "delta:/data/ratings"`. Paths
    are relative to the folder of the project file.
    """

    code = "TM205"


class ExternalRefused(SourceError, ValueError):
    """An external table cannot be read as it is: a column's type, a feature of its format, or the engine is not
    supported, or a column has the name of a column of people.

    The message names the column or the feature. `mill.external(name, columns=[…])` reads only the listed columns.
    """

    code = "TM206"


class ExternalVersionGone(SourceError, FileNotFoundError):
    """The version of an external table that a publication is pinned to can no longer be read: its files were deleted
    or replaced.

    `tidemill run` reads the current version and rebuilds the tables that depend on it; what was published stays. To
    read old versions, keep them at the table's owner: a longer retention, or files that are never overwritten.
    """

    code = "TM207"


class LakeError(TidemillError):
    """A table, a version or an increment is missing or not valid."""

    code = "TM300"


class NotPublished(LakeError, LookupError):
    """A table was requested at a time or publication before its first publication."""

    code = "TM301"


class CorruptFile(LakeError, OSError):
    """A file differs from the sha256 that the manifest recorded, or is missing.

    `tidemill verify` names every such file. Restore it from a backup, or publish the increment again.
    """

    code = "TM302"


class StaleWriter(LakeError, RuntimeError):
    """Another writer committed first; nothing of this commit was written. Run again."""

    code = "TM303"


class NoSuchIncrement(LakeError, LookupError):
    """The increment does not exist, or is not held."""

    code = "TM304"


class NoSuchBlob(LakeError, LookupError):
    """No folder of files is stored under the requested key."""

    code = "TM305"


class LatestFull(LakeError, OSError):
    """The store of fresh rows is full: its disk, or its declared size.

    The next run writes a snapshot that includes the fresh rows; until then, the existing rows are served.
    """

    code = "TM306"


class SegmentDamaged(LakeError, OSError):
    """A frame of an append-only segment does not match its checksum: the file was changed or its disk is failing.

    Runs and the log writer set such bytes aside, and read all other frames.
    """

    code = "TM307"


class KeyAbsent(LakeError, ValueError):
    """A row has no value in a column of its key, so it cannot be matched with other rows.

    Declare the column without `| None`, so that the contract refuses such rows, or remove it from `key=` and `by=`.
    """

    code = "TM308"


class NoSuchObject(LakeError, LookupError):
    """No object is stored in the lake under the requested name.

    `tidemill verify` lists what is missing. Restore it from a backup.
    """

    code = "TM309"


class ConditionalPutMissing(LakeError, RuntimeError):
    """The store of the lake overwrites an object where it was told to create one or to replace another version of it.

    Two writers would lose rows on it without an error, so nothing is written. Use a store that honours `If-None-Match`
    and `If-Match`, as Amazon S3 and recent versions of most others do.
    """

    code = "TM310"


class CheckError(TidemillError):
    """An expectation could not be evaluated."""

    code = "TM400"


class LearnError(TidemillError):
    """A model could not be trained or evaluated."""

    code = "TM500"


class TooLittleData(LearnError, ValueError):
    """There are too few rows, users or days to train or evaluate the model."""

    code = "TM501"


class RecallBelowTarget(LearnError, ValueError):
    """The recall of the approximate index on real user vectors is below its target, so no bundle is written.

    Set `search = "exact"` in tidemill.toml: all vectors are then scanned, which has full recall and is slower.
    """

    code = "TM502"


class SettingRefused(LearnError, ValueError):
    """A learner's setting has an invalid value, such as a duration without a unit."""

    code = "TM510"


class IdsMismatch(LearnError, ValueError):
    """The parts of a recommender disagree about the number or the ids of the items, so it is not opened.

    Train it again with `tidemill train MODEL`; the last good release keeps serving.
    """

    code = "TM511"


class CatalogueTooLarge(LearnError, ValueError):
    """A learner's cost grows with the square or the cube of the items, and there are more items than its limit.

    Use a learner whose cost grows with the events, such as `cooccurrence()`, `item_knn()` or `spectral()`.
    """

    code = "TM512"


class MemoryTooSmall(LearnError, MemoryError):
    """A learner needs all its rows in one process, and they do not fit into the memory of the machine.

    Train on a sample with `sample=` in mill.py: `tm.cooccurrence()`, `tm.transitions()` and `tm.item_knn()` still count
    all events, on the engine. Or use a learner that needs less. A tabular model needs fewer rows or inputs.
    """

    code = "TM515"


class SearchFailed(LearnError, RuntimeError):
    """A search of settings ended without a result: every trial failed, or none finished before the deadline.

    The message has the first trial's error. Finished trials are kept, so the same command continues from there.
    """

    code = "TM513"


class FigureRefused(LearnError, ValueError):
    """A metric of a run is not a number, or is NaN or infinite, and can be neither plotted nor compared.

    Omit it where it is not defined. The call logged nothing, and the run continues.
    """

    code = "TM514"


class NotPublishable(LearnError, TypeError):
    """A fitted model has no export that a server can run without unpickling, so nothing was published.

    Use `tm.auto()`, a LightGBM estimator or scikit-learn's own classes; or add a method `export_onnx(folder)` to the
    model that writes an ONNX graph and returns its path.
    """

    code = "TM520"


class ParityFailed(LearnError, ValueError):
    """The exported model's predictions differ from the fitted model's, so nothing was published.

    The message names the row with the largest difference and both predictions. The usual causes are numbers that
    float32 cannot represent and unseen categories.
    """

    code = "TM521"


class TargetUnfit(LearnError, ValueError):
    """The target of a tabular model does not fit its task, declared or detected.

    A binary target has two values, a count is never below 0, and a constant target cannot be predicted. Check the
    column in the examples' table, or set `task=` on the model in mill.py.
    """

    code = "TM530"


class DatasetChanged(LearnError, ValueError):
    """A pinned dataset is not the same when it is read again.

    The message names the difference: the code of a feature, a missing table version, or the rows. `tidemill
    verify` checks whether the lake's files are unchanged.
    """

    code = "TM531"


class EnvironmentUnmade(LearnError, OSError):
    """The libraries of the original training cannot be installed again, so it was not reproduced with them.

    The package index may no longer have a version, or may be unreachable. `tidemill reproduce --here` uses the current
    environment and lists the differences.
    """

    code = "TM540"


class NotExplained(LearnError, ValueError):
    """A model has no feature contributions (SHAP values) for its predictions.

    They are exact for trees and additive models; ONNX graphs, and trees without stored leaf weights, have none.
    """

    code = "TM522"


class ReleaseError(TidemillError):
    """A bundle or a release cannot be served."""

    code = "TM600"


class BundleCorrupt(ReleaseError, OSError):
    """A bundle's file is missing, truncated, or differs from its manifest. The last good release keeps serving."""

    code = "TM601"


class BundleRefused(ReleaseError, ValueError):
    """A bundle contains something that is not allowed: a pickle, a link, or a path outside of the bundle."""

    code = "TM602"


class CardIncomplete(ReleaseError, ValueError):
    """A release's model card lacks its intended use or its possible harm.

    Set `helps=` and `could_harm=` on the model in mill.py.
    """

    code = "TM603"


class NoSuchRelease(ReleaseError, LookupError):
    """The release or model does not exist; `tidemill status` lists those that do."""

    code = "TM604"


class SlateMismatch(ReleaseError, ValueError):
    """A slate requires candidates or facts that the bundle or the feature store does not have."""

    code = "TM605"


class RuleRefused(ReleaseError, ValueError):
    """A custom rule cannot be part of a release, or its module in the release is not the one that was pinned.

    A rule is a named function at the top level of a file, imports only what rules may import, and names each fact
    column that it reads.
    """

    code = "TM610"


class OriginMissing(ReleaseError, ValueError):
    """A pretrained model has no record of its origin, or is not the file that its card pins.

    Its folder needs a `card.json` with `source`, `licence`, `revision`, `sha256` and `card`.
    """

    code = "TM606"


class ImportRefused(ReleaseError, ValueError):
    """An external model cannot be imported as a release: its format or its inputs are unknown.

    ONNX files, LightGBM text files and MLflow models of a known flavor can be imported.
    """

    code = "TM607"


class ServeError(TidemillError):
    """The server could not process the request."""

    code = "TM700"


class BadRequest(ServeError, ValueError):
    """A request's body, parameter or header is not valid; the message names it."""

    code = "TM701"


class TooLarge(ServeError, ValueError):
    """A request exceeds the server's limits of size, length or depth."""

    code = "TM702"


class NotServed(ServeError, LookupError):
    """The requested model, stream or user token does not exist on this server."""

    code = "TM703"


class NotLogged(ServeError, OSError):
    """A prediction could not be logged, and with `log = "required"` it is then not returned."""

    code = "TM704"


class SwitchedOff(ServeError, RuntimeError):
    """The model is switched off and has no fallback; `tidemill on MODEL` switches it on."""

    code = "TM705"


class WrongMethod(ServeError, ValueError):
    """The path does not support this HTTP method; the response's `Allow` header lists those that it does."""

    code = "TM706"


class WrongMedia(ServeError, TypeError):
    """A request's body is not declared as JSON; send `Content-Type: application/json`."""

    code = "TM707"


class TooBusy(ServeError, BlockingIOError):
    """Too many concurrent requests; wait as long as `Retry-After` states and send the request again."""

    code = "TM708"


class NotReady(ServeError, RuntimeError):
    """The server did not start in time, or not all of its workers serve the requested release yet.

    `tidemill status` shows the release of each worker; the server's log is in `.tidemill/serving`.
    """

    code = "TM709"


class AlreadyServing(ServeError, OSError):
    """A server of this project is already running, or another program listens on its port.

    Stop it, or choose another port with `--port`.
    """

    code = "TM710"


class RuleFailed(ServeError, RuntimeError):
    """A custom rule raised an error, or did not return one value per candidate.

    A filter returns a bool for each candidate, a score returns a finite number for each.
    """

    code = "TM711"


class NotKept(ServeError, OSError):
    """Posted events or outcomes could not be written to disk, so none of the request was accepted.

    The disk may be full. Free space on the disk with `.tidemill` and send them again after `Retry-After`; no restart is
    needed.
    """

    code = "TM712"


class AnswerFailed(ServeError, RuntimeError):
    """A tabular model returned no valid prediction.

    An on-demand function of its project raised an error or did not return one value for each row, or the prediction is
    not a finite number.
    """

    code = "TM713"


class LedgerError(TidemillError):
    """The ledger could not be read, written or verified."""

    code = "TM800"


class LedgerMissing(LedgerError, FileNotFoundError):
    """The ledger of a mill that has run before is not at its configured location, and no new one is created there.

    Restore the file from its backup, or correct `ledger` in tidemill.toml. Serving and `tidemill off` work without it.
    """

    code = "TM810"


class LedgerCorrupt(LedgerError, ValueError):
    """An entry, a link of the chain or a signature does not verify: the ledger was changed, truncated or damaged.

    `tidemill verify` names the first entry that fails. Keep the file, and restore from a backup.
    """

    code = "TM801"


class LedgerForked(LedgerError, RuntimeError):
    """The ledger lacks an entry whose signed head is stored elsewhere: it was cut, or an older copy was restored.

    Nothing was written, because a new entry would be a second history. Restore the newest backup of the ledger, with
    its `-wal` file. `tidemill verify` names the entry. Where no copy has it, restore the whole `.tidemill` folder from
    one backup: all heads in it agree, and the next run ingests the days after it from the sources again.
    """

    code = "TM812"


class SignatureInvalid(LedgerError, ValueError):
    """A file that decides what is served is not signed with this project's key, so it is not followed.

    It was changed by something else than tidemill, was copied from another project or model, or was written by an
    older version. `tidemill run` and `tidemill serve` write it again from the ledger.
    """

    code = "TM813"


class LeaseTaken(LedgerError, BlockingIOError):
    """Another process holds the lease that this command needs; the message names it.

    `lake` is held by the run that ingests days, `train:MODEL` by a training or an import of that model, and
    `live:MODEL` by a promotion, a rollback or a refresh of it. Wait for that process, or stop it.
    """

    code = "TM802"


class FormatTooNew(LedgerError, ValueError):
    """A store was written by a newer tidemill than this one; install that version or a later one."""

    code = "TM803"


class KeyMissing(LedgerError, FileNotFoundError):
    """A key of this mill's stores is not at its configured location.

    Without it, surrogates would change and vault entries could not be read, so the command stopped. Restore the key
    from its backup.
    """

    code = "TM804"


class LeaseLost(LedgerError, RuntimeError):
    """A later process has acquired the lease, so this run's entry was rejected. Run again."""

    code = "TM805"


class LedgerMoved(LedgerError, RuntimeError):
    """Another process appended an entry between a read of the ledger and the append that depends on it.

    tidemill retries on its own; this error appears only if other processes append without a pause.
    """

    code = "TM811"


class LedgerBusy(LedgerError, TimeoutError):
    """The ledger or the vault was locked by another process for too long.

    Nothing was written. Run again; if it persists, `tidemill doctor` looks for a process that hangs.
    """

    code = "TM806"


class NoSuchSubject(LedgerError, LookupError):
    """The vault has no entry for this surrogate: it is unknown, or it was erased."""

    code = "TM807"


class SealBroken(LedgerError, ValueError):
    """A sealed value cannot be decrypted with this mill's vault key: it was damaged, moved, or sealed by another mill.

    Check that the setting `keys` names this mill's key folder, and restore the vault from a backup if it does.
    """

    code = "TM808"


class SubjectNamed(LedgerError, ValueError):
    """A ledger entry would have identified a person. Ledger entries are permanent, so they contain no surrogates."""

    code = "TM809"


class AccessError(TidemillError, PermissionError):
    """The caller is not permitted to do this."""

    code = "TM900"


class AddressRefused(AccessError):
    """The server only listens on this machine: other addresses would require access control."""

    code = "TM901"


class OriginRefused(AccessError):
    """A request was sent by a page of another site: its `Origin` or `Sec-Fetch-Site` header says so."""

    code = "TM902"


class HostRefused(OriginRefused):
    """A request names another machine as its host, or more than one host.

    `Host`, the target of the request, `X-Forwarded-Host` and `Forwarded` must all name this machine's loopback address.
    A proxy must set `Host` to it and remove the others.
    """

    code = "TM903"


def all_errors() -> Iterator[type[TidemillError]]:
    """Every error class of the tree, by code."""
    found: dict[str, type[TidemillError]] = {}
    todo: list[type[TidemillError]] = [TidemillError]
    while todo:
        error = todo.pop()
        found.setdefault(error.code, error)
        todo.extend(error.__subclasses__())
    return iter(found[code] for code in sorted(found))
