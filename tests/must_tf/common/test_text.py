"""Names never reach a terminal, a table or a page with characters that those obey."""

from __future__ import annotations

import io
import json
import sys

import pytest

from must_tf.common import progress, tables, text
from must_tf.common.errors import UserError, exit_on_user_error
from must_tf.shared import html_report
from tfrecords_tools.inspect import contact_page

EVIL = "a\x1b[31mred\x1b[2K\rgone\x07\x9b\u202e"
SAFE = r"a\x1b[31mred\x1b[2K\x0dgone\x07\u009b\u202e"


def test_what_a_terminal_obeys_is_shown() -> None:
    assert text.shown(EVIL) == SAFE
    assert text.shown("é 漢\tb\nc") == "é 漢\tb\nc"
    assert json.loads(text.shown(json.dumps([EVIL, "\x7f"], ensure_ascii=False))) == [EVIL, "\x7f"]


def test_every_command_prints_names_so(capsys: pytest.CaptureFixture[str]) -> None:
    """In what it prints, in its error, and in a traceback. The streams are as before afterwards."""

    def fail(error: Exception) -> int:
        print("first\r\n", EVIL, sep="")
        raise error

    before = sys.stdout, sys.stderr
    assert exit_on_user_error(lambda: fail(UserError(f"{EVIL} is missing."))) == 2
    assert capsys.readouterr() == (f"first\r\n{SAFE}\n", f"error: {SAFE} is missing.\n")
    assert exit_on_user_error(lambda: fail(ValueError(EVIL))) == 2
    assert capsys.readouterr().err.endswith(f"ValueError: {SAFE}\n")
    assert (sys.stdout, sys.stderr) == before


def test_progress_still_replaces_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        """A terminal that remembers."""

        def isatty(self) -> bool:
            """Returns True."""
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with text.shown_output():
        progress.Progress(2, "convert").close(EVIL)
        sys.stderr.write("\x1b[2K\rerror")
    written = terminal.getvalue()
    assert written.startswith("\x1b[2Kconvert ") and written.endswith("\x1b[2K\rerror")
    assert "\x1b[31m" not in written


def test_tables_and_pages_show_names_so() -> None:
    drawn = tables.table(("name", "count"), [(EVIL, 1), ("b", 2)])
    assert drawn.splitlines()[1] == f"{SAFE}      1"
    table = html_report.ReportTable(EVIL, ("class",), [(EVIL,)])
    page = html_report.render(html_report.Report(EVIL, (EVIL,), (table,)))
    facts = {"id": EVIL, "size": "1x1", "place": EVIL, "tasks": {}, "classes": [EVIL]}
    sheet = contact_page.render(contact_page.ContactPage(EVIL, EVIL, EVIL, (), [(facts, {"photo": b""})]))
    for content in (page, sheet):
        assert text.OBEYED.search(content) is None and SAFE in content
    assert json.dumps(SAFE)[1:-1] in sheet  # of the filters
