"""The strict YAML reader, scalar by scalar, fault by fault, and its writer."""

from __future__ import annotations

import math
import time

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from isnet_cli.config.yaml_tree import MAX_CHARACTERS, Problem, parse, write


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.", 1.0),
        (".5", 0.5),
        ("-2E+3", -2000.0),
        ("017", 17),
        ("0o17", 15),
        ("0xff", 255),
        ("+3", 3),
        ("1_000", "1_000"),
        ("190:20:30", "190:20:30"),
        ("2026-01-31", "2026-01-31"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("y", "y"),
        ("n", "n"),
        ("'yes'", "yes"),
        ('"off"', "off"),
        ("'1'", "1"),
        ("=", "="),
        ("a b: c", "a b: c"),
        ("[1, [2.0, x]]", [1, [2.0, "x"]]),
        ("{a: 1, 2: b}", {"a": 1, 2: "b"}),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        (r'"\ud83d\ude00"', "\U0001f600"),  # as JSON writes it
        (r'"\udcff"', "\udcff"),  # a byte of a file's name
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    quoted = f"k: {text}" if text != "a b: c" else "k: 'a b: c'"
    tree = parse(quoted)
    assert tree.problems == []
    assert tree.value == {"k": value}
    assert type(tree.value["k"]) is type(value)


@pytest.mark.parametrize("text", [r"\ud83d", r"\ude00\ud83d", r"a\udfff", r"\ud800\udcff\udc00"])
def test_half_a_character_is_refused(text: str) -> None:
    tree = parse(f'a: b\nfiles: "{text}"')
    assert [(line, key) for line, key, _ in tree.problems] == [(2, ("files",))]
    assert "half a character" in tree.problems[0][2]


def test_nan() -> None:
    assert math.isnan(parse("k: .nan").value["k"])


@pytest.mark.parametrize("word", ["yes", "No", "ON", "off"])
def test_booleans_of_old_yaml_are_refused_with_a_hint(word: str) -> None:
    truth = "true" if word.lower() in {"yes", "on"} else "false"
    (line, key, message), *_ = parse(f"a: 1\nb: {word}").problems
    assert (line, key) == (2, ("b",))
    assert message == f"found {word}: write {truth}, or '{word}' in quotes for the word"


def test_lines_of_keys_and_items() -> None:
    tree = parse("a: 1\nb:\n  c:\n    - x\n    - {d: 2}\n")
    assert tree.lines == {
        ("a",): 1,
        ("b",): 2,
        ("b", "c"): 3,
        ("b", "c", 0): 4,
        ("b", "c", 1): 5,
        ("b", "c", 1, "d"): 5,
    }


def test_every_duplicate_is_reported() -> None:
    tree = parse("a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert tree.problems == [
        (2, ("b", "c"), "duplicate key, first on line 2"),
        (3, ("a",), "duplicate key, first on line 1"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!python/object/apply:os.system ['true']", "tag"),
        ("a: !!str 1", "tag"),
        ("a: !custom 1", "tag"),
        ("a: [1", "not valid YAML"),
        ("a: 'x", "not valid YAML"),
        ("a:\n\t- b", "not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("a: *nowhere", "not valid YAML"),
        ("a: \x07", "not YAML text"),
        ("? [a, b]\n: 1", "a key must be a word"),
        ("true: 1", "write it in quotes"),
        ("1.5: 1", "write it in quotes"),
        ("~: 1", "write it in quotes"),
    ],
)
def test_refused(text: str, words: str) -> None:
    problems = parse(text).problems
    assert len(problems) == 1
    assert words in problems[0][2]
    assert problems[0][0] >= 1


def test_aliases_are_copied() -> None:
    tree = parse("a: &x {k: 1}\nb: *x\n")
    assert tree.value == {"a": {"k": 1}, "b": {"k": 1}}
    assert tree.value["a"] is not tree.value["b"]


def test_a_bomb_of_aliases_is_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    start = time.process_time()
    problems = parse("\n".join(lines)).problems
    assert time.process_time() - start < 2
    assert len(problems) == 1
    assert "more than" in problems[0][2]


@pytest.mark.parametrize("text", ["a: &x [*x]", "[" * 100 + "]" * 100, "{a: " * 5000])
def test_endless_and_deep_documents_are_refused(text: str) -> None:
    assert parse(text).problems


def test_a_huge_document_is_refused() -> None:
    assert "characters" in parse("#" * (MAX_CHARACTERS + 1)).problems[0][2]


def test_problem_line() -> None:
    assert Problem("a.yaml:3", "k", "wrong").line() == "a.yaml:3: k: wrong"
    assert Problem("a.yaml:3", "", "wrong").line() == "a.yaml:3: wrong"


PIECES = (
    "a", "b: ", "c:\n  ", "- ", "? ", ": ", "[", "]", "{", "}", ", ", "&x ", "*x", "!t ", "|\n",
    "> ", "'", '"', "\\n", "\\x41", "\\", "#", " # c\n", "%YAML 1.1\n", "---\n", "...\n", "\n",
    "\n  ", " ", "\t", "1", "1e-3", "~", "yes", "\x85", "\u2028", "\ufeff", "\r\n", "\xe9", "\x7f",
    "\x00", "@", "`", "<<", "=", "k" * 1030,
)  # fmt: skip


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml")
@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
@example("a: 1\nb:\n  - {c: 'x', d: [1, ~]}\n  - &y no\n  - *y\nb: !t 1\n")
@example("a: &x [*x]")
@example("a: [1")
@example("b:\t1\r\n")
@example("a: |\t\n  text")
@example("\ufeff\ufeffa: 1")
def test_libyaml_changes_no_value_line_or_fault(text: str) -> None:
    found = parse(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "__with_libyaml__", False)
        assert repr(parse(text)) == repr(found)  # NaN equals no NaN


def test_no_document_crashes_the_reader() -> None:
    @given(st.text(alphabet="ab:-[]{},&*!?|>'\"#%@`~ \n\t0123456789.", max_size=60))
    def fuzz(text: str) -> None:
        tree = parse(text)
        assert isinstance(tree.problems, list)

    fuzz()


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(
        ["yes", "No", "1e-3", "0o17", "~", "", "<<", "=", "2020-01-01", "\x85", "\ufeff"]
    )
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), TREES, max_size=4))
def test_written_trees_read_back_equal(tree: dict[str, object]) -> None:
    found = parse(write(tree))
    assert found.problems == []
    assert found.value == tree or (tree == {} and found.value == {})


@given(st.text())
def test_text_on_one_line_stays_on_one_line(text: str) -> None:
    written = write({"k": text}, width=10**9)
    assert parse(written).value == {"k": text}
