"""How is it answered? HTTP, the hot swap, the fallback and the off switch, over one predictor for all ways to ask.

Upstream: `release` says what is live, `models` answer, `features` know the facts. Downstream: `feedback` keeps what
was answered. The server never reads the ledger: pointers, switches and its clock are files.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill.serving.clock import ServerClock, replayed, set_replay
    from tidemill.serving.handle import Server, is_serving, start, swap_state, wait_live
    from tidemill.serving.infer_request import InferReader
    from tidemill.serving.off_switch import Policy, policy, settle, spooled, switch
    from tidemill.serving.prediction_log import PredictionLog
    from tidemill.serving.predictor import Asked, Predictor, Sources
    from tidemill.serving.process import Start
    from tidemill.serving.recent import Histories, Recent, recent_view
    from tidemill.serving.streams import ServedStream, Streams, write_streams
    from tidemill.serving.supervisor import Plan, serve
    from tidemill.serving.swap import Swap
    from tidemill.serving.tabular_predictor import TabularPredictor, TabularSources
    from tidemill.serving.told import Serving

_HOMES = {
    "Asked": "predictor",
    "Histories": "recent",
    "InferReader": "infer_request",
    "Plan": "supervisor",
    "Policy": "off_switch",
    "PredictionLog": "prediction_log",
    "Predictor": "predictor",
    "Recent": "recent",
    "ServedStream": "streams",
    "Server": "handle",
    "ServerClock": "clock",
    "Serving": "told",
    "Sources": "predictor",
    "Start": "process",
    "Streams": "streams",
    "Swap": "swap",
    "TabularPredictor": "tabular_predictor",
    "TabularSources": "tabular_predictor",
    "is_serving": "handle",
    "policy": "off_switch",
    "recent_view": "recent",
    "replayed": "clock",
    "serve": "supervisor",
    "set_replay": "clock",
    "settle": "off_switch",
    "spooled": "off_switch",
    "start": "handle",
    "swap_state": "handle",
    "switch": "off_switch",
    "wait_live": "handle",
    "write_streams": "streams",
}
__all__ = [
    "Asked",
    "Histories",
    "InferReader",
    "Plan",
    "Policy",
    "PredictionLog",
    "Predictor",
    "Recent",
    "ServedStream",
    "Server",
    "ServerClock",
    "Serving",
    "Sources",
    "Start",
    "Streams",
    "Swap",
    "TabularPredictor",
    "TabularSources",
    "is_serving",
    "policy",
    "recent_view",
    "replayed",
    "serve",
    "set_replay",
    "settle",
    "spooled",
    "start",
    "swap_state",
    "switch",
    "wait_live",
    "write_streams",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
