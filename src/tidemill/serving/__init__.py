"""How are predictions served? HTTP, hot swap, fallback and kill switch, over one predictor for HTTP, batch and Python.

Upstream: `release` (what is live), `models` (predictions) and `features` (online features). Downstream: `feedback`
stores the prediction log. The server never reads the ledger: pointers, switches and its clock are files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill.core.lazy_imports import lazy_exports

if TYPE_CHECKING:
    from tidemill.serving.events.streams import ServedStream as ServedStream
    from tidemill.serving.events.streams import Streams as Streams
    from tidemill.serving.events.streams import write_streams as write_streams
    from tidemill.serving.infer.oip_request import InferRequestReader as InferRequestReader
    from tidemill.serving.infer.tabular_predictor import TabularPredictor as TabularPredictor
    from tidemill.serving.infer.tabular_predictor import TabularSources as TabularSources
    from tidemill.serving.live.kill_switch import SwitchState as SwitchState
    from tidemill.serving.live.kill_switch import flush_spool as flush_spool
    from tidemill.serving.live.kill_switch import spooled as spooled
    from tidemill.serving.live.kill_switch import switch as switch
    from tidemill.serving.live.kill_switch import switch_state as switch_state
    from tidemill.serving.live.prediction_log import PredictionLog as PredictionLog
    from tidemill.serving.live.server_clock import ServerClock as ServerClock
    from tidemill.serving.live.server_clock import replayed as replayed
    from tidemill.serving.live.server_clock import set_replay as set_replay
    from tidemill.serving.process.hot_swap import SwapState as SwapState
    from tidemill.serving.process.server_handle import ServerHandle as ServerHandle
    from tidemill.serving.process.server_handle import is_serving as is_serving
    from tidemill.serving.process.server_handle import start as start
    from tidemill.serving.process.server_handle import swap_state as swap_state
    from tidemill.serving.process.server_handle import wait_live as wait_live
    from tidemill.serving.process.server_state import ServerState as ServerState
    from tidemill.serving.process.supervisor import ServerPlan as ServerPlan
    from tidemill.serving.process.supervisor import serve as serve
    from tidemill.serving.recommend.predictor import Predictor as Predictor
    from tidemill.serving.recommend.predictor import PredictorSources as PredictorSources
    from tidemill.serving.recommend.predictor import RecommendationRequest as RecommendationRequest
    from tidemill.serving.recommend.user_history import RecentEvents as RecentEvents
    from tidemill.serving.recommend.user_history import UserHistories as UserHistories
    from tidemill.serving.recommend.user_history import recent_view as recent_view
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "events.streams": "ServedStream Streams write_streams",
            "infer.oip_request": "InferRequestReader",
            "infer.tabular_predictor": "TabularPredictor TabularSources",
            "live.kill_switch": "SwitchState flush_spool spooled switch switch_state",
            "live.prediction_log": "PredictionLog",
            "live.server_clock": "ServerClock replayed set_replay",
            "process.hot_swap": "SwapState",
            "process.server_handle": "ServerHandle is_serving start swap_state wait_live",
            "process.server_state": "ServerState",
            "process.supervisor": "ServerPlan serve",
            "recommend.predictor": "Predictor PredictorSources RecommendationRequest",
            "recommend.user_history": "RecentEvents UserHistories recent_view",
        },
    )
