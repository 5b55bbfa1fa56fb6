"""What is installed on a disk: filesystems, the root tree, and the facts of the system in it.

Nothing here judges; rules do.
"""
