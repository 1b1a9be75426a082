"""The errors that this project raises on purpose: one small tree.

Each message is one line for an operator: what is wrong and what to do.
"""


def one_line(error: BaseException) -> str:
    """Returns what an exception says as one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__


class Ec2MapError(Exception):
    """Something that an operator can put right; the text says how."""

    at_once = False
    """Whether it is said at once, also in the place of another trouble."""

    def __str__(self) -> str:
        """Writes it as one line, whatever it quotes."""
        text = super().__str__()
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class BadId(Ec2MapError):
    """A text is neither an image UUID nor an EC2 image id."""


class ConfigError(Ec2MapError):
    """The configuration cannot be used as it stands."""


class BadMessage(Ec2MapError):
    """A message or notification cannot be understood, or not be trusted."""


class SchemaError(Ec2MapError):
    """The ledger's schema or server is missing, or of another version."""


class SchemeMismatch(Ec2MapError):
    """The ledger was filled under another hash_key or band."""


class TooManyMoves(Ec2MapError):
    """Claims would change more than they may; nothing was recorded."""

    def __init__(self, text: str, images: frozenset[str]) -> None:
        super().__init__(text)
        self.images = images
        """Those whose claims would do it, among others."""


class TooManyEvictions(TooManyMoves):
    """Claims would take more numbers from images than they may."""


class NoHead(Ec2MapError):
    """The ledger's head row is gone, or there is another one."""

    def __init__(self) -> None:
        super().__init__(
            "the ledger has lost the row of its table head, or has a second "
            "one: the agent makes it anew within a minute, 'ec2map-sync "
            "verify --ledger --repair' does it now"
        )


class Contradicted(Ec2MapError):
    """The ledger says two things about some numbers."""

    def __init__(self, numbers: frozenset[int]) -> None:
        super().__init__(
            f"the ledger contradicts itself about {len(numbers)} numbers, for "
            f"example {min(numbers)}: nothing is written there before that "
            "is put right; see 'ec2map-sync verify --ledger'"
        )
        self.numbers = numbers
