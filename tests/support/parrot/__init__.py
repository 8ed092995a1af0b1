"""A second provider, for tests only, as small as one can be and unlike Meta's API in every respect.

Its codes are words, an attempt can be looked up, and its webhooks carry a secret in the address instead of a
signature. There is no handshake.
"""
