"""What the views ask: each question is a function of a `Question`, and gives an `Answer`."""

from titans_explorer.questions._answer import Answer, Question, in_python

__all__ = ["Answer", "Question", "in_python"]
