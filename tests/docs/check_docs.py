#!/usr/bin/env python3
"""Checks the documentation against the tree: links lead somewhere, tests that are named exist.

Usage: tests/docs/check_docs.py. Ends with 1 and a list of what is wrong.
"""

import pathlib
import re
import sys
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
TEST_IN_SOURCE = re.compile(r"^\s*(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", re.MULTILINE)
PYTHON_TEST = re.compile(r"^\s*def (test_\w+)\(", re.MULTILINE)
# Tests are named in docs/testing.md as `Suite.Name` or `test_name`.
TEST_IN_PAGE = re.compile(r"`(\w+\.\w+|test_\w+)`")


def anchor(heading):
    """The anchor that a heading gets on the usual forges."""
    text = re.sub(r"[`*]", "", heading.lower())
    kept = (c for c in text if c in "-_ " or unicodedata.category(c)[0] in "LN")
    return "".join(kept).replace(" ", "-")


def anchors(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return {anchor(m) for m in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def wrong_links(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{page.relative_to(ROOT)}: {link}: there is no such file"
        elif fragment and fragment not in anchors(target):
            yield f"{page.relative_to(ROOT)}: {link}: there is no such heading"


def known_tests():
    known = set()
    for source in [path for end in ("cc", "h", "cu") for path in ROOT.glob(f"tests/**/*.{end}")]:
        text = source.read_text(encoding="utf-8")
        known |= {f"{suite}.{name}" for suite, name in TEST_IN_SOURCE.findall(text)}
    for source in ROOT.glob("tests/**/*.py"):
        known |= set(PYTHON_TEST.findall(source.read_text(encoding="utf-8")))
    return known


def unknown_tests():
    known = known_tests()
    page = ROOT / "docs" / "testing.md"
    table = [line for line in page.read_text(encoding="utf-8").splitlines()
             if line.startswith("| A")]
    if not table:
        yield f"{page.relative_to(ROOT)}: the table of cases is missing"
    for line in table:
        named = TEST_IN_PAGE.findall(line)
        if not named:
            yield f"{page.relative_to(ROOT)}: {line.split('|')[1].strip()}: no test is named"
        for name in named:
            if name not in known:
                yield f"{page.relative_to(ROOT)}: {name}: there is no such test"
    yield from errors_and_tests(known)


def errors_and_tests(known):
    """Every row of bad input names a test that exists, and every such test has a row."""
    page = ROOT / "docs" / "errors.md"
    text = page.read_text(encoding="utf-8").partition("## Bad input")[2]
    rows = [line for line in text.splitlines()
            if line.startswith("| ") and not line.startswith("| Input |")]
    named = set()
    for row in rows:
        tests = TEST_IN_PAGE.findall(row.split("|")[-2])
        if not tests:
            yield f"{page.relative_to(ROOT)}: {row.split('|')[1].strip()}: no test is named"
        named |= set(tests)
    tested = {f"{suite}.{name}"
              for source in ROOT.glob("tests/integration/bad_*_test.cc")
              for suite, name in TEST_IN_SOURCE.findall(source.read_text(encoding="utf-8"))}
    for name in sorted(named - known):
        yield f"{page.relative_to(ROOT)}: {name}: there is no such test"
    for name in sorted(tested - named):
        yield f"{page.relative_to(ROOT)}: {name}: tested, but not in the table"


def reasons_without_a_remedy():
    """Every reason of the API has a row that says what to do."""
    page = ROOT / "docs" / "errors.md"
    rows = [line.strip("|").split("|") for line in page.read_text(encoding="utf-8").splitlines()
            if re.match(r"\| `[A-Z_]+` \| `[A-Z_]+` ", line)]
    told = {row[1].strip(" `") for row in rows if row[-1].strip()}
    source = (ROOT / "server" / "service" / "errors.h").read_text(encoding="utf-8")
    namespace = source.partition("namespace reason {")[2].partition("}  // namespace reason")[0]
    for name in sorted(set(re.findall(r'\[\] = "([A-Z_]+)";', namespace)) ^ told):
        yield f"{page.relative_to(ROOT)}: {name}: no such reason, or not said what to do"


def main():
    wrong = [line for page in PAGES for line in wrong_links(page)] + list(unknown_tests())
    wrong += reasons_without_a_remedy()
    print("\n".join(wrong) if wrong else f"{len(PAGES)} pages checked")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
