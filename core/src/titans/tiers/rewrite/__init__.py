"""Rewrites: other content in the place of what was acknowledged, by somebody who asks for it."""
