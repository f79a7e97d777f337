"""What Schemathesis cannot know of our GraphQL: three scalars, pages, and which errors are the server's fault."""

import graphql
import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes

schemathesis.graphql.scalar("Count", st.integers(0, 2**53 - 1).map(nodes.Int))
schemathesis.graphql.scalar("Decimal", st.decimals(0, 1000, places=2).map(str).map(nodes.String))
schemathesis.graphql.scalar("DateTime", st.datetimes().map(lambda time: nodes.String(time.isoformat() + "Z")))


class Pages(graphql.Visitor):
    """Gives each connection one of `first` and `last`: no type can say that it takes exactly one."""

    def __init__(self, types):
        super().__init__()
        self.types = types

    def leave_field(self, node, *_):
        if not str(graphql.get_named_type(self.types.get_type())).endswith("Connection"):
            return None
        arguments = node.arguments or ()
        pages = [one for one in arguments if one.name.value in ("first", "last")]
        given = [one for one in pages if not isinstance(one.value, graphql.NullValueNode)][:1]
        if not given:
            given = [graphql.ArgumentNode(name=graphql.NameNode(value="first"), value=nodes.Int(5))]
        size = given[0].value
        if isinstance(size, graphql.IntValueNode) and int(size.value) % 2 == 0:
            # Of the numbers that it makes few are from 1 to 100.
            page = nodes.Int(1 + int(size.value) % 100)
            given = [graphql.ArgumentNode(name=given[0].name, value=page)]
        others = [one for one in arguments if one not in pages]
        kept = {key: getattr(node, key) for key in node.keys}
        return graphql.FieldNode(**{**kept, "arguments": tuple(given + others)})


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, graphql.DocumentNode):
        return body
    types = graphql.TypeInfo(context.operation.schema.client_schema)
    return graphql.visit(body, graphql.TypeInfoVisitor(types, Pages(types)))


@schemathesis.check
def no_error_of_ours(_context, response, _case):
    """An error with the code `internal`, or with none, is ours; any other tells the caller what to mend."""
    assert response.status_code < 500, response.text
    for error in response.json().get("errors", []):
        code = error.get("extensions", {}).get("code")
        assert code not in (None, "internal"), error
