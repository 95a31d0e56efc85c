"""Reading: which files a question needs, and the answer."""
