"""What a schema can't say of a request, for Schemathesis."""

import schemathesis


@schemathesis.hook
def map_case(context, case):
    """Makes requests that fit the schemas fit what the descriptions say, too."""
    if case.meta is not None and case.meta.generation.mode.is_positive:
        # Two names of one header: they must not say different keys.
        if case.headers:
            case.headers.pop("x-idempotency-key", None)
        # Only what a page before handed out.
        if case.query:
            case.query.pop("cursor", None)
    return case


@schemathesis.hook
def filter_case(context, case):
    """Preconditions that are no tags are no faults: `If-None-Match` then holds (RFC 9110, section 13.1.2), and a request
    that was answered before is replayed whatever its preconditions are."""
    if case.meta is None or not case.meta.generation.mode.is_negative:
        return True
    return getattr(case.meta.phase.data, "parameter", None) not in ("if-match", "if-none-match")
