import orjson
import pytest

from edr.web.refusals import STATUS, RefusedError


def test_refusal_has_a_json_body_with_the_code_and_the_path():
    refusal = RefusedError("invalid_binding", "must be a level", "bindings[0].severity")

    assert refusal.status == 400
    assert orjson.loads(refusal.body())["error"] == {
        "code": "invalid_binding",
        "path": "bindings[0].severity",
        "detail": "must be a level",
    }


@pytest.mark.parametrize("code", [code for code, status in STATUS.items() if status in (429, 503)])
def test_refusal_of_a_passing_state_has_retry_after(code):
    assert int(RefusedError(code, "later").headers["Retry-After"]) > 0


def test_refusal_writes_text_that_is_not_encodable():
    assert b"?" in RefusedError("invalid_request", "got '\ud800'").body()
