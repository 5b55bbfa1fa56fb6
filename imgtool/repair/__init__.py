"""Repairing images: a plan made by reading alone, then applied to a copy through libguestfs.

`plan.make_plan` is the way in; what mends a rule is a room of its own in `imgtool.repair.fixes`.
"""
