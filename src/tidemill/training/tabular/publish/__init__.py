"""Publishing of fitted estimators as data or ONNX, with a parity check."""
