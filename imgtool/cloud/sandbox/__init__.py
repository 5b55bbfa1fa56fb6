"""A local server that speaks enough of COS, of S3 and of the CVM API for the official SDKs to work against
it.

`server.Sandbox` runs it; what it holds lies in one folder (SQLite and files) and survives a restart.
"""
