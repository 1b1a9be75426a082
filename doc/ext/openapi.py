"""The directive ``openapi``: what the API may be asked, from its code."""

from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from ec2map_sync.api.openapi import Json, document


def written() -> Iterator[str]:
    """Give the lines of the page."""
    found = document("")
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            yield from _operation(path, method, operation)
    for name, schema in found["components"]["schemas"].items():
        yield from (f"**{name}**: {schema['description']}", "")
        for field, one in schema["properties"].items():
            yield from (
                f"``{field}`` ({_type(one)})",
                f"   {one['description']}",
                "",
            )


def _operation(path: str, method: str, operation: Json) -> Iterator[str]:
    yield from (f"**{method.upper()} {path}**", "", operation["summary"], "")
    for one in operation["parameters"]:
        schema = one["schema"]
        limits = [
            f"{word} {schema[word]}"
            for word in ("minimum", "maximum", "default")
            if word in schema
        ]
        kind = ", ".join([one["in"], schema["type"], *limits])
        yield from (
            f"``{one['name']}`` ({kind})",
            f"   {one['description']}",
            "",
        )
    answers = operation["responses"]
    content = answers["200"]["content"]["application/json"]["schema"]
    yield from (
        f"200: {_type(content)}; else {', '.join(sorted(answers)[1:])}.",
        "",
    )


def _type(schema: Json) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    kind = schema["type"]
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


class OpenApi(SphinxDirective):
    """Puts the description where it stands."""

    def run(self) -> list[nodes.Node]:
        """Parse what is written."""
        return self.parse_text_to_nodes("\n".join(written()))


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    app.add_directive("openapi", OpenApi)
    return {"parallel_read_safe": True}
