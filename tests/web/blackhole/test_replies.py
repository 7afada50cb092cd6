from edr.web.blackhole import replies


def test_reply_has_the_bytes_of_kazoo():
    keys = ["edr.critical.error.acdc"] * 2

    assert replies.success("R", {"subscribed": keys}) == (
        '{"action":"reply","request_id":"R","status":"success",'
        '"data":{"subscribed":["edr.critical.error.acdc","edr.critical.error.acdc"]}}'
    )


def test_error_has_the_bytes_of_kazoo():
    assert replies.failure("R", replies.FOREIGN_ACCOUNT) == (
        '{"action":"reply","request_id":"R","status":"error",'
        '"data":{"errors":["unauthorized account id"]}}'
    )


def test_texts_are_those_of_kazoo():
    assert replies.SEVERITIES == "severity must be one of: ok, warning, critical"
    assert replies.VERBOSITIES == (
        "verbosity must be one of: trace, debug, info, warn, error, fatal"
    )
    assert replies.rate_limit_hit("203.0.113.7:50123") == (
        "rate limiting threshold hit for 203.0.113.7:50123!"
    )
