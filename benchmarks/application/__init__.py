"""``edr run`` under load, for measurements and for tests of its promises."""
