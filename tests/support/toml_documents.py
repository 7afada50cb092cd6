"""Random TOML texts, written by hand with the line of each key and element."""

import json
import random

from hypothesis import strategies as st

BARE = ["a", "b", "c-1", "x_y", "1", "true"]
ODD = ["", "a.b", "é", "=", "#", "]", '"', "\\", "'", "\t"]


class Writer:
    """Writes a random document. ``lines`` has the first line of each place."""

    def __init__(self, rng):
        self.rng = rng
        self.text = ""
        self.lines = {}

    def write(self, text):
        self.text += text

    def note(self, place):
        self.lines.setdefault(place, self.text.count("\n") + 1)

    def space(self, *, feeds=False):
        kinds = ["", "", " ", "\t"] + (["\n", " # ] } = \" '\n", "\r\n"] if feeds else [])
        self.write(self.rng.choice(kinds))

    def key(self, name):
        bare = name and all(c.isascii() and (c.isalnum() or c in "_-") for c in name)
        if bare and self.rng.random() < 0.7:
            return name
        if "'" not in name and self.rng.random() < 0.5:
            return f"'{name}'"
        return json.dumps(name, ensure_ascii=self.rng.random() < 0.5)

    def name(self, taken):
        while (name := self.rng.choice(BARE + ODD) + self.rng.choice(["", "", "2"])) in taken:
            pass
        taken.add(name)
        return name

    def scalar(self):
        return self.rng.choice(
            [
                "1", "-2.5", "0x1F", "true", "inf", "1979-05-27", "1979-05-27 07:32:00", '""', "''",
                '"a # ] }"', "'\\'", '"\\"\\\\"', '"""\n]\n"""', '"""a""b"""""', "'''\n'' }'''''",
                '"""\\\n  x\\""""', "''''x'''", '"\\u005d"',
            ]
        )  # fmt: skip

    def value(self, place, depth):
        self.note(place)
        kind = self.rng.random() if depth < 3 else 1.0
        if kind < 0.25:
            self.array(place, depth)
        elif kind < 0.5:
            self.inline(place, depth)
        else:
            self.write(self.scalar())

    def array(self, place, depth):
        count = self.rng.randrange(4)
        self.write("[")
        for index in range(count):
            self.space(feeds=True)
            self.value((*place, index), depth + 1)
            self.space(feeds=True)
            if index < count - 1 or self.rng.random() < 0.3:
                self.write(",")
        self.space(feeds=True)
        self.write("]")

    def inline(self, place, depth):
        taken, count = set(), self.rng.randrange(3)
        self.write("{")
        for index in range(count):
            self.space()
            self.pair(place, taken, depth)
            self.write("," if index < count - 1 else "")
        self.space()
        self.write("}")

    def pair(self, place, taken, depth):
        names = [self.name(taken)]
        while self.rng.random() < 0.2:
            names.append(self.rng.choice(BARE + ODD))
        for length in range(1, len(names) + 1):
            self.note(place + tuple(names[:length]))
        self.write(self.rng.choice([".", " . ", ".\t"]).join(map(self.key, names)))
        self.space()
        self.write("=")
        self.space()
        self.value(place + tuple(names), depth + 1)

    def pairs(self, place, taken):
        for _ in range(self.rng.randrange(4)):
            self.space(feeds=True)
            self.pair(place, taken, 0)
            self.space()
            self.write(self.rng.choice(["\n", "\r\n", " # comment\n"]))

    def document(self):
        root = set()
        self.pairs((), root)
        for _ in range(self.rng.randrange(4)):
            name = self.name(root)
            is_array = self.rng.random() < 0.5
            for index in range(self.rng.randrange(1, 4) if is_array else 1):
                place = (name, index) if is_array else (name,)
                self.header([name], is_array)
                for length in range(1, len(place) + 1):
                    self.lines.setdefault(place[:length], self.header_line)
                taken = set()
                self.pairs(place, taken)
                if self.rng.random() < 0.5:
                    inner = self.name(taken)
                    self.header([name, inner], False)
                    self.lines.setdefault((*place, inner), self.header_line)
                    self.pairs((*place, inner), set())
        self.space(feeds=True)
        return self.text, self.lines

    def header(self, names, is_array):
        self.space(feeds=True)
        self.header_line = self.text.count("\n") + 1
        self.write("[[" if is_array else "[")
        self.space()
        self.write(self.rng.choice([".", " . "]).join(map(self.key, names)))
        self.space()
        self.write("]]" if is_array else "]")
        self.write(self.rng.choice(["\n", " # [x]\n", "\r\n"]))


def toml_texts():
    """Return a strategy of (text, line of each place)."""
    return st.integers(0, 2**32).map(lambda seed: Writer(random.Random(seed)).document())
