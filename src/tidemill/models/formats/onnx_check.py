"""Check of ONNX graphs: refuses whatever could make a runtime read other files or load other code.

A graph is parsed by ONNX's own library (https://onnx.ai/onnx/repo-docs/IR.html). Operators must come from known
domains, weights must be inside the file, and there must be as many bytes as the library would write. The runtime gets
the bytes that were written again here, so that it can find nothing in them that the check has not seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tidemill.core.errors import BackendMissing
from tidemill.models.formats.onnx_deadline import OnnxSession

#: A graph of more bytes than this is too large for a server.
MOST_BYTES = 512 * 1024 * 1024
DOMAINS = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
_NO_GRAPH = "it is not an ONNX graph"


class _GraphError(ValueError):
    """The reason why bytes are refused as an ONNX graph."""


def onnx_refusal_reason(raw: bytes) -> str | None:
    """The reason why bytes are refused as an ONNX graph; `None` if they are accepted.

    >>> onnx_refusal_reason(b"import os")
    'it is not an ONNX graph'
    """
    try:
        _checked(raw)
    except _GraphError as refused:
        return str(refused)
    except BackendMissing as missing:
        return f"{missing.message}: {missing.tip}"
    return None


def onnx_session(raw: bytes) -> OnnxSession:
    """ONNX Runtime's session for a graph, on one CPU thread, without telemetry, whose runs have a deadline.

    Raises `BackendMissing` without ONNX Runtime, and `ValueError` with the reason if the graph is refused or cannot be
    opened.
    """
    try:
        import onnxruntime  # noqa: PLC0415 - an optional library
    except ModuleNotFoundError as problem:
        raise BackendMissing("an ONNX graph needs onnxruntime", tip="pip install 'tidemill[onnx]'") from problem
    written = _checked(raw)
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(written, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # ONNX Runtime's errors have no common class
        raise ValueError(f"ONNX Runtime cannot open it: {str(problem)[:300]}") from problem
    return OnnxSession(session, onnxruntime.RunOptions)


def _checked(raw: bytes) -> bytes:
    """The graph, written again. Raises `_GraphError`, and `BackendMissing` without the library."""
    if len(raw) > MOST_BYTES:
        raise _GraphError(f"it is larger than {MOST_BYTES:,} bytes")
    try:
        from google.protobuf.message import DecodeError  # noqa: PLC0415 - an optional library
        from onnx import ModelProto  # noqa: PLC0415 - an optional library
    except ModuleNotFoundError as problem:
        raise BackendMissing("an ONNX graph needs onnx", tip="pip install 'tidemill[onnx]'") from problem
    try:
        model = ModelProto.FromString(raw)
    except (DecodeError, UnicodeDecodeError) as problem:
        raise _GraphError(_NO_GRAPH) from problem
    if not model.HasField("ir_version") or not model.HasField("graph"):
        raise _GraphError(_NO_GRAPH)
    local = {function.domain for function in model.functions}
    if reason := next(_reasons(model, local), None):
        raise _GraphError(reason)
    model.DiscardUnknownFields()
    try:
        written: bytes = model.SerializeToString()
    except UnicodeDecodeError as problem:
        raise _GraphError(_NO_GRAPH) from problem
    if len(written) != len(raw):
        raise _GraphError("it has bytes that ONNX does not write; read it with onnx.load, and write it with onnx.save")
    return written


def _reasons(message: Any, local: set[str]) -> Iterator[str]:
    """What is wrong with a message or one inside it, at any depth."""
    kind = message.DESCRIPTOR.name
    if kind == "TensorProto" and (message.external_data or message.data_location == message.EXTERNAL):
        yield "its weights are in another file"
    if kind in ("NodeProto", "OperatorSetIdProto") and message.domain not in DOMAINS | local:
        yield f"it uses operators of the domain {message.domain[:60]!r}, which need third-party code"
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else (value,):
                yield from _reasons(part, local)
