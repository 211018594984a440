"""A gateway from gRPC to a browser: a page that shows sessions while they run.

`python3 -m ptychoserve.dashboard` is a client of a ptychoserved that serves a page on localhost. It
needs aiohttp. docs/dashboard.md is the guide; the page's sources are in client/dashboard.
"""
