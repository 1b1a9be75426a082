"""What some servers and proxies of MySQL's kind refuse, or would lose."""

import re

_REFUSED = (
    # By Percona's clusters, with pxc_strict_mode = ENFORCING.
    r"(GET|RELEASE|IS_FREE|IS_USED)_(ALL_)?LOCKS?\b",
    r"LOCK\s+TABLES?\b",
    r"FLUSH\b",
    r"CREATE\s+TABLE\b.*\bSELECT\b",
    r"(IMPORT|DISCARD)\s+TABLESPACE\b",
    r"MYISAM\b",
    r"BINLOG_FORMAT\b",
    r"XA\s+(START|BEGIN|END|PREPARE|COMMIT)\b",
    # It would be another session's, where sessions are shared.
    r"TEMPORARY\b",
    r"LAST_INSERT_ID\b",
    r"(FOUND_ROWS|ROW_COUNT)\b",
    r"(PREPARE|EXECUTE|HANDLER)\s",
)
_PATTERN = re.compile(
    rf"\b({'|'.join(_REFUSED)})|(?<!@)@[a-z]", re.IGNORECASE | re.DOTALL
)
_QUOTED = re.compile(r"'(?:[^'\\]|\\.|'')*'")


def refused(statement: str) -> str | None:
    """Give what of a statement is refused; texts in it are not looked at."""
    found = _PATTERN.search(_QUOTED.sub("''", statement))
    return found and found[0]
