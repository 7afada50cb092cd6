from edr.control import protocol


def test_a_request_ends_with_end_or_error():
    assert {"end", "error"} == protocol.FINAL


def test_a_batch_fits_into_a_line():
    assert protocol.MAX_BATCH < protocol.MAX_LINE


def test_each_code_is_a_word_with_a_meaning():
    for code, meaning in protocol.ERRORS.items():
        assert code.replace("_", "a").isalpha()
        assert meaning
