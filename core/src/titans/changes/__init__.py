"""Frame → frame. Pure functions: what a change point is, how two states differ, which row wins. No
I/O.
"""
