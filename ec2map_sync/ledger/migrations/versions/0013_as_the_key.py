"""``claims.spelled`` may be ``-``: spelled as the key, as nearly all are.

Rows of before may stay as they are, since what they would save lies in pages
that nothing new goes to. But a release of before must not read a new one: it
would take ``-`` for a UUID.
"""

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Change no table: only what may stand there."""
