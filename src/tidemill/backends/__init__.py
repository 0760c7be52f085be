"""Back-ends: one file for each technology, found by entry point and chosen by URL.

A back-end implements a port of `tidemill.core.ports` and imports the core and its own client, nothing more. No code
imports a back-end by name.
"""
