"""Whole archives in a world of one thread, one seed, and a store in which everything goes wrong
that may go wrong.

`scheduler` hands a baton from process to process, `store` loses answers, `actors` do what users do,
`book` knows what must come out, `world` puts a run together. `python tests/simulation/soak.py
--seed N` shows one run step by step.
"""
