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


class TidemillError(Exception):
    """Something that tidemill refused or could not do."""

    code = "TM000"

    def __init__(self, message: str, *, tip: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.tip = tip

    def __str__(self) -> str:
        text = f"{self.message} [{self.code}]"
        return f"{text}\n  tip: {self.tip}" if self.tip else text


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the closest known name, or lists what there is.

    >>> nearest("rating", ["ratings", "items"])
    'did you mean `ratings`?'
    >>> nearest("zzz", ["ratings", "items"])
    'known: items, ratings'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    return f"known: {', '.join(names)}" if names else "nothing is known here yet"


class UsageError(TidemillError):
    """A setting, an argument or a place that does not fit."""

    code = "TM001"


class SettingError(UsageError, ValueError):
    """A setting has an unknown name or a value that does not fit.

    `tidemill status --settings` shows every setting, its value and where the value came from.
    """

    code = "TM002"


class ProjectMissing(UsageError, FileNotFoundError):
    """No mill.py was found in this folder or above it.

    Change into the project's folder, name it with `--project DIR`, or make one with `tidemill init NAME`.
    """

    code = "TM003"


class BackendMissing(UsageError, ImportError):
    """A back-end or an optional library that a setting asks for is not installed.

    The message names the extra to install, for example `pip install 'tidemill[spark]'`.
    """

    code = "TM004"


class PlaceRefused(UsageError, OSError):
    """The machine refused to read or write a file: a full disk, a missing permission, a limit, a place that is gone.

    Mend the place that the message names and type the same command again: what was done is kept, what was half done
    is made again, and the version before stays readable. `tidemill doctor` shows the free space.
    """

    code = "TM005"


class GraphError(TidemillError):
    """The project file does not describe a graph that can run."""

    code = "TM100"


class UnknownName(GraphError, LookupError):
    """A parameter, a column or a model is named that nothing makes.

    Parameters of table and feature functions must be the names of streams, snapshots or tables.
    """

    code = "TM101"


class GraphCycle(GraphError, ValueError):
    """Tables need each other in a ring, so none of them can be made first."""

    code = "TM102"


class TypeMismatch(GraphError, TypeError):
    """A column or a parameter has a type that does not fit where it is used."""

    code = "TM103"


class FunctionFailed(GraphError, RuntimeError):
    """A table or feature function of mill.py passed the dry run on empty tables and failed on rows that arrived.

    What a table failed on was not taken; where a feature function failed, the tables are published and its view stays
    as it was. Mend the function, or the rows at their source, and run again.
    """

    code = "TM105"


class RowsLost(GraphError, RuntimeError):
    """A join of features lost or doubled rows of the examples, so that its result is not used.

    It is a defect of tidemill or of the engine: what was given is whole. Please report it with the view's function.
    """

    code = "TM106"


class SourceError(TidemillError):
    """A source could not be read."""

    code = "TM200"


class SourceMissing(SourceError, FileNotFoundError):
    """A source's file, folder or pattern names nothing that exists.

    Paths are taken relative to the folder of the project file.
    """

    code = "TM201"


class SchemaChanged(SourceError, ValueError):
    """A source brings a column of another name, type or number than its contract says.

    Nothing of the file was taken. Mend the producer, or change the contract in mill.py together with the column
    mapping in the settings, and run again.
    """

    code = "TM202"


class SourceDamaged(SourceError, OSError):
    """A source's file ends in the middle or fails its checksum, so nothing of it was taken.

    If it is still being written, run again when it is complete; else deliver it again or move it out of the way.
    """

    code = "TM203"


class SourceUnknown(SourceError, ValueError):
    """A source's file is in a format, or has columns, that tidemill does not recognise by looking.

    Say what its columns are in the settings, for example `?columns=item_id,user_id,rating,reviewed_at:unix_s`.
    """

    code = "TM204"


class LakeError(TidemillError):
    """A table, a version or an increment is not as it should be."""

    code = "TM300"


class NotPublished(LakeError, LookupError):
    """A table was asked for at a time or publication before its first one."""

    code = "TM301"


class CorruptFile(LakeError, OSError):
    """A file differs from the sha256 that the manifest recorded, or is missing.

    `tidemill lake verify` names every such file. Restore it from a backup, or publish the increment again.
    """

    code = "TM302"


class StaleWriter(LakeError, RuntimeError):
    """Another writer committed first; nothing of this commit was taken. Run again."""

    code = "TM303"


class NoSuchIncrement(LakeError, LookupError):
    """An increment is named that does not exist, or that is not held."""

    code = "TM304"


class NoSuchBlob(LakeError, LookupError):
    """A folder of files is asked for under a key that nothing was stored under."""

    code = "TM305"


class LatestFull(LakeError, OSError):
    """The store of fresh rows has no room left, on its disk or within its declared size.

    The next run writes a snapshot that takes the fresh rows in; until then answers go on with what is there.
    """

    code = "TM306"


class SegmentDamaged(LakeError, OSError):
    """A frame of an append-only segment does not match its checksum: the file was changed or its disk is failing.

    The frames before it are taken; the file is moved aside to `damaged/` and kept, and the others flow on.
    """

    code = "TM307"


class KeyAbsent(LakeError, ValueError):
    """A row has no value in a column of its key, so nobody can say which row it repeats or replaces.

    Declare the column without `| None`, so that the contract refuses such rows, or leave it out of `key=` and `by=`.
    """

    code = "TM308"


class NoSuchObject(LakeError, LookupError):
    """An object beside the tables is asked for under a name that nothing was stored under.

    `tidemill lake verify` names what the lake lacks. Restore it from a backup.
    """

    code = "TM309"


class CheckError(TidemillError):
    """An expectation could not be evaluated."""

    code = "TM400"


class LearnError(TidemillError):
    """A model could not be learned or evaluated."""

    code = "TM500"


class TooLittleData(LearnError, ValueError):
    """There are too few rows, users or days to learn or to evaluate what was asked."""

    code = "TM501"


class RecallBelowTarget(LearnError, ValueError):
    """The approximate index finds too few of the true nearest items on real user vectors, so no bundle is made.

    Set `search = "exact"` in tidemill.toml: the vectors are then scanned, which finds all of them and takes longer.
    """

    code = "TM502"


class SettingRefused(LearnError, ValueError):
    """A learner's setting has a value that it cannot have, such as a duration without a unit."""

    code = "TM510"


class IdsMismatch(LearnError, ValueError):
    """The parts of a recommender disagree about how many items there are or what they are, so it is not opened.

    Learn it again with `tidemill train MODEL`; the last good release keeps serving.
    """

    code = "TM511"


class CatalogueTooLarge(LearnError, ValueError):
    """A learner's cost grows with the square or the cube of the items, and there are more than it takes.

    Take a learner whose cost grows with the events, such as `cooccurrence()`, `item_knn()` or `spectral()`.
    """

    code = "TM512"


class SearchFailed(LearnError, RuntimeError):
    """A search of settings ended without a single figure: every trial failed, or the deadline came before the first.

    The message says what the first trial said. Trials that ended are kept, so the same command goes on from there.
    """

    code = "TM513"


class FigureRefused(LearnError, ValueError):
    """A figure of a run is no number, or NaN or infinite, which can be neither drawn nor compared.

    Leave it out where it is not defined. Nothing of the call was kept, and the run goes on.
    """

    code = "TM514"


class NotPublishable(LearnError, TypeError):
    """A fitted model has no form that a server can answer from without running its pickle, so nothing was published.

    Take `tm.auto()`, a LightGBM estimator or scikit-learn's own classes; or give the model a method
    `export_onnx(folder)` that writes an ONNX graph and returns its path.
    """

    code = "TM520"


class ParityFailed(LearnError, ValueError):
    """The published form of a model answers otherwise than the fitted model itself, so nothing was published.

    The message names the worst row and both answers. Numbers that float32 cannot hold, and texts that were never seen,
    are the usual causes.
    """

    code = "TM521"


class TargetUnfit(LearnError, ValueError):
    """The target of a tabular model is not of the task that it is declared or seen to be.

    A binary target has two values, a count is never below 0, and what has only one value cannot be learned. Look at the
    column in the examples' table, or say `task=` on the model in mill.py.
    """

    code = "TM530"


class DatasetChanged(LearnError, ValueError):
    """A dataset that was pinned does not come out the same when it is read again.

    The message names what differs: the code of a feature, a table version that is gone, or the rows. `tidemill lake
    verify` tells whether the lake's files are what was written.
    """

    code = "TM531"


class EnvironmentUnmade(LearnError, OSError):
    """The libraries that something was learned with cannot be installed again, so it was not reproduced with them.

    The index may no longer have a version, or may not be reachable. `tidemill reproduce --here` takes the present
    environment and names what differs.
    """

    code = "TM540"


class NotExplained(LearnError, ValueError):
    """Nothing can say what each input added to this model's answers.

    Trees and additive models are explained exactly; ONNX graphs are not, nor trees whose leaf weights were not kept.
    """

    code = "TM522"


class ReleaseError(TidemillError):
    """A bundle or a release is not fit to be served."""

    code = "TM600"


class BundleCorrupt(ReleaseError, OSError):
    """A bundle's file is missing, truncated, or differs from its manifest. The last good release keeps serving."""

    code = "TM601"


class BundleRefused(ReleaseError, ValueError):
    """A bundle holds something that is not allowed: a pickle, a link, or a path outside itself."""

    code = "TM602"


class CardIncomplete(ReleaseError, ValueError):
    """A release needs an answer to who is served and who could be harmed.

    Set `helps=` and `could_harm=` on the model in mill.py.
    """

    code = "TM603"


class NoSuchRelease(ReleaseError, LookupError):
    """A release or a model is named that does not exist; `tidemill status` lists what there is."""

    code = "TM604"


class SlateMismatch(ReleaseError, ValueError):
    """A slate asks for candidates or facts that the bundle or the feature store does not have."""

    code = "TM605"


class RuleRefused(ReleaseError, ValueError):
    """A rule of one's own cannot be shipped with a release, or the shipped module is not the one that was pinned.

    A rule is a named function at the top of a file, imports only what rules may import, and names each fact column
    that it reads.
    """

    code = "TM610"


class OriginMissing(ReleaseError, ValueError):
    """A model from elsewhere does not say where it comes from, or is not the file that its card pins.

    Its folder needs a `card.json` with `source`, `licence`, `revision`, `sha256` and `card`.
    """

    code = "TM606"


class ImportRefused(ReleaseError, ValueError):
    """A model that was learned elsewhere cannot become a release: its kind is not known, or its inputs are not.

    ONNX files, LightGBM text files and MLflow models of a known flavor can be imported.
    """

    code = "TM607"


class ServeError(TidemillError):
    """The server could not do what was asked."""

    code = "TM700"


class BadRequest(ServeError, ValueError):
    """A request's body, parameter or header does not fit; the message names which."""

    code = "TM701"


class TooLarge(ServeError, ValueError):
    """A request is larger, longer or deeper than the server's limits."""

    code = "TM702"


class NotServed(ServeError, LookupError):
    """A model, a stream or a user token is asked for that this server does not have."""

    code = "TM703"


class NotLogged(ServeError, OSError):
    """An answer could not be written to the prediction log and `log = "required"` forbids giving it."""

    code = "TM704"


class SwitchedOff(ServeError, RuntimeError):
    """The model is switched off and declares no fallback; `tidemill on MODEL` switches it on."""

    code = "TM705"


class WrongMethod(ServeError, ValueError):
    """A path of the server was asked with a method that it does not take; the answer's `Allow` header lists those."""

    code = "TM706"


class WrongMedia(ServeError, TypeError):
    """A request's body is not declared as JSON; send `Content-Type: application/json`."""

    code = "TM707"


class TooBusy(ServeError, BlockingIOError):
    """More requests are being worked on than the server takes at once; wait as `Retry-After` says and ask again."""

    code = "TM708"


class NotReady(ServeError, RuntimeError):
    """The server did not come up, or not all of its workers answer from the release that was asked for, in time.

    `tidemill status` says what each worker serves; the server's log lies beside its pointers in `.tidemill/serving`.
    """

    code = "TM709"


class AlreadyServing(ServeError, OSError):
    """A server of this project is running already, or another program listens on its port.

    Stop it, or choose another port with `--port`.
    """

    code = "TM710"


class RuleFailed(ServeError, RuntimeError):
    """A rule of one's own raised an error, or gave something other than one value per candidate.

    A filter gives a bool for each candidate, a score gives a finite number for each.
    """

    code = "TM711"


class NotKept(ServeError, OSError):
    """Posted events or outcomes could not be written to disk, so none of the request was taken; the disk may be full.

    Make room on the disk that holds `.tidemill` and send them again as `Retry-After` says; no restart is needed.
    """

    code = "TM712"


class AnswerFailed(ServeError, RuntimeError):
    """A tabular model gave no answer: an on-demand function of its project raised an error or gave something other than
    one value for each row, or the answer is no finite number.
    """

    code = "TM713"


class LedgerError(TidemillError):
    """The ledger could not be read, written or believed."""

    code = "TM800"


class LedgerMissing(LedgerError, FileNotFoundError):
    """A mill that has run before has no ledger where the settings say, and none is begun in its place.

    Restore the file from its backup, or mend `ledger` in tidemill.toml. Serving, and `tidemill off`, go on without it.
    """

    code = "TM810"


class LedgerCorrupt(LedgerError, ValueError):
    """A line, a link of the chain or a signature does not verify: the ledger was changed, cut or damaged.

    `tidemill audit verify` names the first line that fails. Keep the file, and restore from a backup.
    """

    code = "TM801"


class LeaseTaken(LedgerError, BlockingIOError):
    """Another process holds the lease that this command needs; the message names it.

    `lake` is held by the run that brings in days, `train:MODEL` by a training or an import of that model, and
    `live:MODEL` by a promotion, a rollback or a refresh of it. Wait for that process, or stop it.
    """

    code = "TM802"


class FormatTooNew(LedgerError, ValueError):
    """A store was written by a newer tidemill than this one; install that version or a later one."""

    code = "TM803"


class KeyMissing(LedgerError, FileNotFoundError):
    """A key that this mill's stores were made with is not where the settings say.

    Without it, surrogates would change and vault entries stay sealed, so nothing is done. Restore it from its backup.
    """

    code = "TM804"


class LeaseLost(LedgerError, RuntimeError):
    """A later holder has taken the lease, so this run's line was refused. Run again."""

    code = "TM805"


class LedgerMoved(LedgerError, RuntimeError):
    """Another process wrote a line between reading the ledger and writing to it; reading and writing begin again.

    It is handled inside tidemill and reaches nobody, unless the ledger is written without a pause.
    """

    code = "TM811"


class LedgerBusy(LedgerError, TimeoutError):
    """The ledger or the vault stayed locked by another process for longer than this one waits.

    Nothing was written. Run again; if it stays so, `tidemill doctor` looks for a process that hangs.
    """

    code = "TM806"


class NoSuchSubject(LedgerError, LookupError):
    """The vault has no entry for this surrogate: it was never seen here, or it was erased."""

    code = "TM807"


class SealBroken(LedgerError, ValueError):
    """A sealed value does not open with this mill's vault key: it was damaged, moved, or sealed by another mill.

    Check that the setting `keys` names this mill's key folder, and restore the vault from a backup if it does.
    """

    code = "TM808"


class SubjectNamed(LedgerError, ValueError):
    """A ledger line would have named a person. Ledger lines are kept for ever, so they hold no surrogates."""

    code = "TM809"


class AccessError(TidemillError, PermissionError):
    """The caller may not do this."""

    code = "TM900"


class AddressRefused(AccessError):
    """The server was asked to listen beyond this machine, which it does not do without access control."""

    code = "TM901"


class OriginRefused(AccessError):
    """A request named a foreign host or came from a foreign page."""

    code = "TM902"


def all_errors() -> Iterator[type[TidemillError]]:
    """Every error class of the tree, by code."""
    found: dict[str, type[TidemillError]] = {}
    todo: list[type[TidemillError]] = [TidemillError]
    while todo:
        error = todo.pop()
        found.setdefault(error.code, error)
        todo.extend(error.__subclasses__())
    return iter(found[code] for code in sorted(found))
