"""How is it answered? HTTP, the hot swap, the fallback and the off switch, over one predictor for all ways to ask.

Upstream: `release` says what is live, `models` answer, `features` know the facts. Downstream: `feedback` keeps what
was answered. The server never reads the ledger: pointers, switches and its clock are files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_door import lazy_exports

if TYPE_CHECKING:
    from tidemill.serving.clock import ServerClock as ServerClock
    from tidemill.serving.clock import replayed as replayed
    from tidemill.serving.clock import set_replay as set_replay
    from tidemill.serving.handle import Server as Server
    from tidemill.serving.handle import is_serving as is_serving
    from tidemill.serving.handle import start as start
    from tidemill.serving.handle import swap_state as swap_state
    from tidemill.serving.handle import wait_live as wait_live
    from tidemill.serving.infer_request import InferReader as InferReader
    from tidemill.serving.off_switch import SwitchState as SwitchState
    from tidemill.serving.off_switch import settle as settle
    from tidemill.serving.off_switch import spooled as spooled
    from tidemill.serving.off_switch import switch as switch
    from tidemill.serving.off_switch import switch_state as switch_state
    from tidemill.serving.prediction_log import PredictionLog as PredictionLog
    from tidemill.serving.predictor import Asked as Asked
    from tidemill.serving.predictor import Predictor as Predictor
    from tidemill.serving.predictor import Sources as Sources
    from tidemill.serving.process import Start as Start
    from tidemill.serving.recent import Histories as Histories
    from tidemill.serving.recent import Recent as Recent
    from tidemill.serving.recent import recent_view as recent_view
    from tidemill.serving.streams import ServedStream as ServedStream
    from tidemill.serving.streams import Streams as Streams
    from tidemill.serving.streams import write_streams as write_streams
    from tidemill.serving.supervisor import Plan as Plan
    from tidemill.serving.supervisor import serve as serve
    from tidemill.serving.swap import Swap as Swap
    from tidemill.serving.tabular_predictor import TabularPredictor as TabularPredictor
    from tidemill.serving.tabular_predictor import TabularSources as TabularSources
    from tidemill.serving.told import Serving as Serving
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "clock": "ServerClock replayed set_replay",
            "handle": "Server is_serving start swap_state wait_live",
            "infer_request": "InferReader",
            "off_switch": "SwitchState settle spooled switch switch_state",
            "prediction_log": "PredictionLog",
            "predictor": "Asked Predictor Sources",
            "process": "Start",
            "recent": "Histories Recent recent_view",
            "streams": "ServedStream Streams write_streams",
            "supervisor": "Plan serve",
            "swap": "Swap",
            "tabular_predictor": "TabularPredictor TabularSources",
            "told": "Serving",
        },
    )
