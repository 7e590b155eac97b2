"""Where the trials of a study are trained: by workers, which share its folder and nothing else.

A sweep writes what the study is of; a worker (`work`) claims trials by leases and trains them. A launcher is one file,
NAME_launcher.py, that starts workers. Nothing is imported here: to look at a study's folder (`status`, `cancel`) needs
no JAX.
"""
