"""Rules for requests that a schema cannot express, for Schemathesis."""

import schemathesis


@schemathesis.hook
def map_case(context, case):
    """Makes valid requests follow the rules of the descriptions, too."""
    if case.meta is not None and case.meta.generation.mode.is_positive:
        # Both headers carry the key and must not differ.
        if case.headers:
            case.headers.pop("x-idempotency-key", None)
        # A cursor must come from an earlier page.
        if case.query:
            case.query.pop("cursor", None)
            case.query.pop("after", None)
            # A look-up is not combined with a search.
            if case.query.get("email") or case.query.get("external_id"):
                case.query.pop("search", None)
        if isinstance(case.body, dict):
            # A date may have passed.
            if case.body.get("requested_delivery_date"):
                case.body["requested_delivery_date"] = "2099-11-30"
            # Some quantity must be possible.
            for name in ("min_qty", "qty_step", "max_qty"):
                if case.body.get(name):
                    case.body[name] = 12
    return case


@schemathesis.hook
def filter_case(context, case):
    """Malformed preconditions are not refused: `If-None-Match` is then true (RFC 9110, section 13.1.2), and a replay
    ignores its preconditions."""
    if case.meta is None or not case.meta.generation.mode.is_negative:
        return True
    return getattr(case.meta.phase.data, "parameter", None) not in ("if-match", "if-none-match")
