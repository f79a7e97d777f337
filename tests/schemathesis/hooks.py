"""What Schemathesis cannot know of our GraphQL: three scalars, and which errors are the server's fault."""

import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes

schemathesis.graphql.scalar("Count", st.integers(0, 2**53 - 1).map(nodes.Int))
schemathesis.graphql.scalar("Decimal", st.decimals(0, 1000, places=2).map(str).map(nodes.String))
schemathesis.graphql.scalar("DateTime", st.datetimes().map(lambda time: nodes.String(time.isoformat() + "Z")))


@schemathesis.check
def no_error_of_ours(_context, response, _case):
    """An error with the code `internal`, or with none, is ours; any other tells the caller what to mend."""
    assert response.status_code < 500, response.text
    for error in response.json().get("errors", []):
        code = error.get("extensions", {}).get("code")
        assert code not in (None, "internal"), error
