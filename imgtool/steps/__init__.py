"""The steps of `imgtool prepare`, each a small room; `imgtool.pipeline` puts them in order.

A step does its work, and says afterwards what of it has to be true for it not to be done again.
"""
