"""The project: mill.py, its declarations and graph, code fingerprints, and the opened stores."""
