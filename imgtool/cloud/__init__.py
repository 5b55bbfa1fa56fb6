"""The cloud end: object storage, the CVM API, and the local sandbox that stands in for both.

Everything here that a person waits for goes through the official SDKs; they are imported only when used.
"""
