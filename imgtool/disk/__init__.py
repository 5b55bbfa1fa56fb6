"""A disk image's bytes: what format the file is, the blocks of the disk inside it, partitions and volumes.

Nothing here knows what is installed on the disk.
"""
