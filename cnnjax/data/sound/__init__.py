"""Clips of sound as examples: files, made ones, and the front end that makes images of them on the device.

The configs import no JAX; the functions that they call stand in spectrum.
"""
