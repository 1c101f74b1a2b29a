"""The exceptions that the command line turns into a sentence and exit status 2."""

__all__ = ["InputError", "MissingExtraError"]


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one clear sentence, a second one names the cure.

    It is a `ValueError`, so library callers need no special case. Only bad input raises it: a defect of ours
    keeps its own exception and its traceback.
    """


class MissingExtraError(ImportError):
    """An optional part is not installed; the message names the extra that brings it."""
