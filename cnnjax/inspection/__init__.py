"""A look inside trained networks: pure functions that return arrays, and pictures of what they return.

`network` is the way in: any Linen module as a function of images whose layers can be read. One file for each question
beside it, free of drawing; `pictures` draws, `of_run` brings a run and its examples, `inspect` writes.
"""
