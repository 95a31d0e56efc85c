"""Compaction: merging, keyframes and sealing."""
