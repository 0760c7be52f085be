"""Which technology does it? One file for each, found by entry point and chosen by URL.

A back-end fills a port of `tidemill.core.ports` and imports the core and its own client, nothing more. Nobody imports
a back-end by name.
"""
