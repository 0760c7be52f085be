"""Back-ends: one module or folder per technology, registered by entry point and selected by URL.

A back-end implements a port of `tidemill.core.ports`. It imports only the core and its own client library, and no other
code imports it by name.
"""
